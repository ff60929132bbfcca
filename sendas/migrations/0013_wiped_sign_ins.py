from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("sendas", "0012_sender_unknown"),
    ]

    operations = [
        migrations.AddField(
            model_name="smarthostcredential",
            name="wiped_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddConstraint(
            model_name="smarthostcredential",
            constraint=models.CheckConstraint(
                condition=Q(
                    ("wiped_at", None), Q(("ciphertext", b""), ("key_id", "")), _connector="OR"
                ),
                name="nothing_is_left_of_a_wiped_sign_in",
            ),
        ),
    ]
