from django.db import migrations

TRIGGER = """
DROP TRIGGER rule_change ON sendas_smtpmsa;
CREATE TRIGGER rule_change
    AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF {columns} ON sendas_smtpmsa
    FOR EACH STATEMENT EXECUTE FUNCTION note_rule_change()
"""
BEFORE = "send_as_id, host, port, security_mode, credential_id, refused_at"


class Migration(migrations.Migration):
    """That a password was wiped decides, so its column is watched as well."""

    dependencies = [
        ("delivery", "0006_address_suspension"),
        ("sendas", "0004_wiped_passwords"),
    ]

    operations = [
        migrations.RunSQL(
            TRIGGER.format(columns=f"{BEFORE}, wiped_at"), TRIGGER.format(columns=BEFORE)
        )
    ]
