import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_express_guests")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="session_generation",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.RemoveConstraint(
            model_name="roleassignment", name="unit_administrator_has_a_unit"
        ),
        migrations.AddField(
            model_name="roleassignment",
            name="privileges",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("mail_settings", "Mail settings"),
                        ("users", "Users"),
                        ("reports", "Reports"),
                    ],
                    max_length=13,
                ),
                blank=True,
                default=list,
                size=None,
                verbose_name="privileges",
            ),
        ),
        # What administrators of a unit could do until now, and no more.
        migrations.RunSQL(
            sql="UPDATE accounts_roleassignment SET privileges = '{mail_settings}' "
            "WHERE role = 'unit_admin'",
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name="roleassignment",
            constraint=models.CheckConstraint(
                condition=Q(role="unit_admin", unit__isnull=False, privileges__len__gt=0)
                | (~Q(role="unit_admin") & Q(unit__isnull=True, privileges__len=0)),
                name="unit_administrator_has_unit_and_privileges",
                violation_error_message=(
                    "An administrator of a unit needs the unit and at least one privilege; the "
                    "other roles have neither."
                ),
            ),
        ),
    ]
