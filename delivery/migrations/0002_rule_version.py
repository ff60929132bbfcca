from django.db import migrations, models

# Every table that a decision is read from, and which of its writes can change one. Columns are
# named where the others are written often and decide nothing, such as the time of last use. A new
# account, unit or app password is in nobody's memory yet.
WATCHED = {
    "accounts_apppassword": "UPDATE OF user_id, digest, revoked_at OR DELETE",
    "accounts_user": "UPDATE OF primary_address, unit_id, cohort, suspended OR DELETE",
    "accounts_alias": "INSERT OR UPDATE OR DELETE",
    "accounts_domain": "INSERT OR UPDATE OR DELETE",
    "accounts_orgunit": "UPDATE OF path, name OR DELETE",
    "policies_appliedpolicy": "INSERT OR UPDATE OR DELETE",
    "sendas_sendas": "INSERT OR UPDATE OF user_id, send_as_email, verification_status OR DELETE",
    "sendas_smtpmsa": (
        "INSERT OR DELETE"
        " OR UPDATE OF send_as_id, host, port, security_mode, credential_id, refused_at"
    ),
}

FUNCTION = """
CREATE FUNCTION note_rule_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO delivery_rulechange DEFAULT VALUES;
    NOTIFY outgate_rules;
    RETURN NULL;
END
$$
"""
TRIGGER = """
CREATE TRIGGER rule_change AFTER {writes} OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION note_rule_change()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("policies", "0001_initial"),
        ("sendas", "0001_initial"),
        ("delivery", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="RuleChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount", models.PositiveBigIntegerField(db_default=1)),
            ],
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION note_rule_change()"),
        *(
            migrations.RunSQL(
                TRIGGER.format(writes=writes, table=table), f"DROP TRIGGER rule_change ON {table}"
            )
            for table, writes in WATCHED.items()
        ),
    ]
