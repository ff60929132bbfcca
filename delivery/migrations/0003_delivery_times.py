from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0002_rule_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="times",
            field=models.JSONField(default=dict, db_default={}, verbose_name="milliseconds"),
        ),
    ]
