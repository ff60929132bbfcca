from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sendas", "0011_host_incidents"),
    ]

    operations = [
        migrations.AlterField(
            model_name="sendas",
            name="ask_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("age", "The proof is old"),
                    ("bounce", "Mail to the address came back"),
                    ("sender", "Its own server does not know it any more"),
                ],
                editable=False,
                max_length=6,
                verbose_name="asked because",
            ),
        ),
    ]
