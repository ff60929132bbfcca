from django.db import migrations

TRIGGER = """
DROP TRIGGER rule_change ON sendas_sendas;
CREATE TRIGGER rule_change
    AFTER INSERT OR UPDATE OF {columns} OR DELETE OR TRUNCATE ON sendas_sendas
    FOR EACH STATEMENT EXECUTE FUNCTION note_rule_change()
"""
BEFORE = "user_id, send_as_email, verification_status"


class Migration(migrations.Migration):
    """The suspension of an address decides, so its column is watched as well."""

    dependencies = [
        ("delivery", "0005_outbox"),
        ("sendas", "0003_proofs_asked_again"),
    ]

    operations = [
        migrations.RunSQL(
            TRIGGER.format(columns=f"{BEFORE}, suspended_at"), TRIGGER.format(columns=BEFORE)
        )
    ]
