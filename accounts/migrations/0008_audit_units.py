from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_privileges")]

    operations = [
        migrations.AddField(
            model_name="auditevent",
            name="unit_id",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="unit_path",
            field=models.CharField(
                blank=True, default="", editable=False, max_length=1000, verbose_name="unit"
            ),
            preserve_default=False,
        ),
        # Events of units themselves have named theirs all along.
        migrations.RunSQL(
            sql="UPDATE accounts_auditevent SET unit_id = (details ->> 'unit_id')::bigint, "
            "unit_path = target WHERE details ? 'unit_id'",
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["unit_id", "id"], name="audit_by_unit"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["name", "id"], name="audit_by_name"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor_address", "id"], name="audit_by_actor"),
        ),
    ]
