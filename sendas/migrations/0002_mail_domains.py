import django.db.models.functions.datetime
from django.db import migrations, models

# Addresses that were there before are asked about as new ones are.
EXISTING = """
INSERT INTO sendas_maildomain (name, policy, organisational_domain, strict_spf, strict_dkim, spf)
    SELECT DISTINCT domain, '', '', false, false, '{}'::jsonb FROM sendas_sendas
    WHERE verification_status <> ''
"""


class Migration(migrations.Migration):
    dependencies = [
        ("sendas", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="MailDomain",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=253, unique=True, verbose_name="domain")),
                (
                    "policy",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Not known"),
                            ("absent", "No record"),
                            ("none", "Refuse nothing"),
                            ("quarantine", "Treat as suspicious"),
                            ("reject", "Reject"),
                        ],
                        editable=False,
                        max_length=10,
                        verbose_name="DMARC policy",
                    ),
                ),
                (
                    "organisational_domain",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=253,
                        verbose_name="organisational domain",
                    ),
                ),
                ("strict_spf", models.BooleanField(default=False, editable=False)),
                ("strict_dkim", models.BooleanField(default=False, editable=False)),
                ("spf", models.JSONField(default=dict, editable=False, verbose_name="SPF")),
                (
                    "answered_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="last answered"),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        db_index=True,
                        editable=False,
                        verbose_name="asked again",
                    ),
                ),
            ],
            options={
                "verbose_name": "mail domain",
                "verbose_name_plural": "mail domains",
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="sendas",
            name="domain",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    models.F("send_as_email"),
                    models.Value("@"),
                    models.Value(-1),
                    function="split_part",
                ),
                output_field=models.CharField(max_length=253, verbose_name="domain"),
            ),
        ),
        migrations.AddIndex(
            model_name="sendas",
            index=models.Index(fields=["domain"], name="sendas_send_domain_3df91a_idx"),
        ),
        migrations.RunSQL(EXISTING, migrations.RunSQL.noop),
    ]
