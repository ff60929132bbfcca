from django.db import migrations, models
from django.db.models import Q

# Since when a check fails is not known of those that fail now: since the last one, at least.
BACKFILL = """
UPDATE sendas_smtpmsa SET failing_since = checked_at WHERE check_failure <> ''
"""


class Migration(migrations.Migration):
    dependencies = [
        ("sendas", "0014_approval_mails"),
    ]

    operations = [
        migrations.AddField(
            model_name="smtpmsa",
            name="failing_since",
            field=models.DateTimeField(editable=False, null=True, verbose_name="checks fail since"),
        ),
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="smtpmsa",
            index=models.Index(
                condition=Q(Q(("check_failure", ""), _negated=True), ("wiped_at", None)),
                fields=["host"],
                name="failed_checks_by_host",
            ),
        ),
        migrations.AddField(
            model_name="hostincident",
            name="trouble",
            field=models.CharField(
                choices=[
                    ("refused", "refuses the password"),
                    ("unreachable", "does not answer"),
                    ("encryption", "offers no safe encryption"),
                    ("certificate", "has no valid certificate"),
                    ("sign_in", "lets nobody sign in at present"),
                ],
                db_default="refused",
                default="refused",
                max_length=11,
            ),
        ),
        migrations.RemoveConstraint(model_name="hostincident", name="one_open_incident_a_host"),
        migrations.AddConstraint(
            model_name="hostincident",
            constraint=models.UniqueConstraint(
                condition=Q(("ended_at", None)),
                fields=("host", "trouble"),
                name="one_open_incident_a_host_and_trouble",
            ),
        ),
    ]
