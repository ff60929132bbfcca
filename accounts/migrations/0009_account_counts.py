import django.db.models.deletion
from django.db import migrations, models

# Whole statements at once, in one order, so that two of them can't wait for each other; a change
# of unit or cohort row by row, for triggers on columns see no whole statements.
TRIGGERS = """
CREATE FUNCTION count_added_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO accounts_accountcount AS counted (unit_id, cohort, accounts)
    SELECT unit_id, cohort, count(*) FROM added GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (unit_id, cohort) DO UPDATE SET accounts = counted.accounts + excluded.accounts;
    RETURN NULL;
END $$;

CREATE FUNCTION count_removed_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts_accountcount AS counted SET accounts = counted.accounts - gone.accounts
    FROM (SELECT unit_id, cohort, count(*) AS accounts FROM removed GROUP BY 1, 2) AS gone
    WHERE counted.unit_id = gone.unit_id AND counted.cohort = gone.cohort;
    RETURN NULL;
END $$;

CREATE FUNCTION count_moved_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO accounts_accountcount AS counted (unit_id, cohort, accounts)
    SELECT unit_id, cohort, accounts
      FROM (VALUES (OLD.unit_id, OLD.cohort, -1), (NEW.unit_id, NEW.cohort, 1))
        AS moved (unit_id, cohort, accounts)
     ORDER BY 1, 2
    ON CONFLICT (unit_id, cohort) DO UPDATE SET accounts = counted.accounts + excluded.accounts;
    RETURN NULL;
END $$;

CREATE TRIGGER count_added AFTER INSERT ON accounts_user
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_accounts();
CREATE TRIGGER count_removed AFTER DELETE ON accounts_user
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_accounts();
CREATE TRIGGER count_moved AFTER UPDATE OF unit_id, cohort ON accounts_user
    FOR EACH ROW WHEN ((OLD.unit_id, OLD.cohort) IS DISTINCT FROM (NEW.unit_id, NEW.cohort))
    EXECUTE FUNCTION count_moved_account();

INSERT INTO accounts_accountcount (unit_id, cohort, accounts)
SELECT unit_id, cohort, count(*) FROM accounts_user GROUP BY 1, 2;
"""
NO_TRIGGERS = """
DROP TRIGGER count_added ON accounts_user;
DROP TRIGGER count_removed ON accounts_user;
DROP TRIGGER count_moved ON accounts_user;
DROP FUNCTION count_added_accounts();
DROP FUNCTION count_removed_accounts();
DROP FUNCTION count_moved_account();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_audit_units")]

    operations = [
        migrations.CreateModel(
            name="AccountCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cohort", models.SmallIntegerField()),
                ("accounts", models.IntegerField()),
                (
                    "unit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.orgunit",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="accountcount",
            constraint=models.UniqueConstraint(fields=("unit", "cohort"), name="one_count"),
        ),
        migrations.RunSQL(sql=TRIGGERS, reverse_sql=NO_TRIGGERS),
    ]
