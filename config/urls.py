from allauth.account import views as account
from allauth.account.decorators import secure_admin_login
from allauth.mfa.base import views as mfa
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from accounts.languages import set_language
from accounts.mail_programs import autoconfig
from accounts.second_factor import demanding_second_factor
from accounts.second_factor_pages import (
    download_recovery_codes,
    new_recovery_codes,
    recovery_codes,
    remove_second_factor,
    set_up_second_factor,
    use_second_factor,
)
from config.demo_page import demo, demo_codes, demo_newest, demo_source
from config.views import healthz, home, no_page, readyz
from delivery.stopped_pages import by_our_servers, discard_waiting

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.admin_view = demanding_second_factor(  # type: ignore[assignment, method-assign]
    admin.site.admin_view
)

# Of allauth's pages only these: it offers no sign-up, and nobody changes a primary address there.
urlpatterns: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path("healthz", healthz, name="healthz"),
    # Where mail programs look: on the domain's own web server, and on autoconfig.<domain>.
    path(".well-known/autoconfig/mail/config-v1.1.xml", autoconfig, name="autoconfig"),
    path("mail/config-v1.1.xml", autoconfig),
    path("readyz", readyz, name="readyz"),
    path("language/", set_language, name="set_language"),
    path("console/", include("console.urls")),
    path("compose/", include("delivery.urls")),
    path("settings/", include("sendas.urls")),
    path(
        "settings/send-as/<int:pk>/by-our-servers/", by_our_servers, name="stopped_by_our_servers"
    ),
    path("settings/send-as/<int:pk>/discard/", discard_waiting, name="stopped_discard"),
    path("settings/app-passwords/", include("accounts.urls")),
    # Of Django's admin not these: there is one way to change a password, which counts wrong tries,
    # and nothing here has a page of its own on the site.
    path("support/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("support/password_change/done/", no_page),
    path("support/r/<path:rest>", no_page),
    path("support/", admin.site.urls),
    path("demo/", demo, name="demo"),
    path("demo/newest/", demo_newest, name="demo_newest"),
    path("demo/codes/", demo_codes, name="demo_codes"),
    path("demo/<str:server>/<str:name>", demo_source, name="demo_source"),
    path("sign-in/", account.login, name="account_login"),
    path("sign-out/", account.logout, name="account_logout"),
    path("sign-in/suspended/", account.account_inactive, name="account_inactive"),
    path("sign-in/again/", account.reauthenticate, name="account_reauthenticate"),
    path("sign-in/code/", mfa.authenticate, name="mfa_authenticate"),
    path("sign-in/code/again/", use_second_factor, name="mfa_reauthenticate"),
    path("second-factor/", mfa.index, name="mfa_index"),
    path("second-factor/set-up/", set_up_second_factor, name="mfa_activate_totp"),
    path("second-factor/remove/", remove_second_factor, name="mfa_deactivate_totp"),
    path("second-factor/recovery-codes/", recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "second-factor/recovery-codes/new/",
        new_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
    path(
        "second-factor/recovery-codes/download/",
        download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    path("password/change/", account.password_change, name="account_change_password"),
    path("password/reset/", account.password_reset, name="account_reset_password"),
    path("password/reset/sent/", account.password_reset_done, name="account_reset_password_done"),
    # The key holds hyphens of its own.
    re_path(
        r"^password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[-\w]+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
