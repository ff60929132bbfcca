import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0008_approvals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="deliveries",
                to=settings.AUTH_USER_MODEL,
                verbose_name="account",
            ),
        ),
        migrations.AlterField(
            model_name="delivery",
            name="from_address",
            field=models.CharField(blank=True, max_length=254, verbose_name="From"),
        ),
        # Each row is written twice, the second time with its outcome: with room on its page it
        # needs no second entry in every index.
        migrations.RunSQL(
            "ALTER TABLE delivery_delivery SET (fillfactor = 60)",
            "ALTER TABLE delivery_delivery RESET (fillfactor)",
        ),
    ]
