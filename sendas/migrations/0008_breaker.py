from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sendas", "0007_outbound_gateway"),
    ]

    operations = [
        migrations.AddField(
            model_name="smtpmsa",
            name="claimed_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="ownernotice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("prove-again", "To be proved again"),
                    ("address-suspended", "Suspended"),
                    ("passwords-wiped", "Passwords wiped"),
                    ("password-refused", "Password refused"),
                ],
                max_length=20,
            ),
        ),
    ]
