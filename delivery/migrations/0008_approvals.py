from django.db import migrations

# A decision depends on whether the server is approved.
TRIGGER = """
DROP TRIGGER rule_change ON sendas_smtpmsa;
CREATE TRIGGER rule_change
    AFTER INSERT OR DELETE OR TRUNCATE
       OR UPDATE OF send_as_id, host, port, security_mode, credential_id, refused_at,
          wiped_at{more}
    ON sendas_smtpmsa FOR EACH STATEMENT EXECUTE FUNCTION note_rule_change()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0007_wiped_passwords"),
        ("sendas", "0006_gateway_approval"),
    ]

    operations = [
        migrations.RunSQL(TRIGGER.format(more=", approval"), TRIGGER.format(more="")),
    ]
