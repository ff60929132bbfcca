from django.urls import path, re_path

from console import views
from policies.models import Setting

app_name = "console"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("search/", views.search, name="search"),
    path("help/gateways/", views.gateway_help, name="help_gateways"),
    path("apps/mail/own-values/<int:unit_id>/", views.overrides, name="overrides"),
    path("apps/mail/what-changes/<int:unit_id>/", views.impact, name="mail_impact"),
    path(
        "apps/mail/what-changes/<int:unit_id>/download.csv",
        views.impact_download,
        name="mail_impact_file",
    ),
    path("apps/mail/", views.mail, name="mail"),
    path("apps/mail/advanced/", views.mail_advanced, name="mail_advanced"),
    path("apps/mail/advanced/<int:unit_id>/", views.mail_advanced, name="mail_advanced"),
    path(
        "apps/mail/advanced/<int:unit_id>/below/",
        views.units_below,
        {"page": "console:mail_advanced"},
        name="mail_advanced_below",
    ),
    path("apps/mail/end-user-access/", views.mail_access, name="mail_access"),
    path("apps/mail/end-user-access/<int:unit_id>/", views.mail_access, name="mail_access"),
    path(
        "apps/mail/end-user-access/<int:unit_id>/below/",
        views.units_below,
        {"page": "console:mail_access"},
        name="mail_access_below",
    ),
    path("apps/mail/guardrails/", views.guardrails, name="guardrails"),
    path("apps/mail/guardrails/<int:unit_id>/", views.guardrails, name="guardrails"),
    path(
        "apps/mail/guardrails/<int:unit_id>/below/",
        views.units_below,
        {"page": "console:guardrails", "setting": Setting.GATEWAY_GUARDRAILS},
        name="guardrails_below",
    ),
    path("apps/mail/outbound-gateway/", views.outbound_gateway, name="outbound"),
    path("apps/mail/outbound-gateway/<int:unit_id>/", views.outbound_gateway, name="outbound"),
    path(
        "apps/mail/outbound-gateway/<int:unit_id>/below/",
        views.units_below,
        {"page": "console:outbound", "setting": Setting.OUTBOUND_GATEWAY},
        name="outbound_below",
    ),
    path("apps/mail/approvals/", views.approvals, name="approvals"),
    path("administrators/", views.administrators, name="administrators"),
    path("administrators/<int:assignment_id>/", views.role, name="role"),
    path("stored-passwords/", views.stored_passwords, name="stored_passwords"),
    path("stored-passwords/<str:host>/", views.wipe_passwords, name="wipe_passwords"),
    path("refused-passwords/", views.failing_servers, name="failing_servers"),
    path("audit/", views.audit, name="audit"),
    re_path(r"^audit/download\.(?P<kind>csv|json)$", views.audit_file, name="audit_download"),
    path("rollouts/", views.rollouts, name="rollouts"),
    path("rollouts/running/", views.running_rollout, name="rollout_running"),
    path("rollouts/<int:change_id>/", views.rollout, name="rollout"),
    path("rollouts/<int:change_id>/<slug:action>/", views.rollout_action, name="rollout_action"),
    path("simulator/", views.simulator, name="simulator"),
    path("messages/<uuid:delivery_id>/", views.message, name="message"),
    path("accounts/", views.accounts, name="accounts"),
    path("accounts/<uuid:account_id>/", views.account, name="account"),
    path("accounts/<uuid:account_id>/apply-now/", views.account_apply_now, name="account_now"),
]
