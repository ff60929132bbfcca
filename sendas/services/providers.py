"""What is publicly known of large mail providers: their servers, and what signs in there."""

from enum import StrEnum
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from smtp.target import Security

STARTTLS, TLS = Security.STARTTLS, Security.SSL


class SignIn(StrEnum):
    """What a provider's submission server accepts."""

    PASSWORD = "password"  # noqa: S105 a kind of secret, not one
    APP_PASSWORD = "app password"  # noqa: S105
    NO_PASSWORD = "no password"  # noqa: S105


class Provider(NamedTuple):
    """One provider. `mail_hosts` are endings of MX names, `host` takes mail from its people.

    `hint` says what to do before a password is typed, where that is not the usual one.
    """

    name: str
    mail_hosts: tuple[str, ...]
    host: str
    port: int
    security: Security
    sign_in: SignIn = SignIn.PASSWORD
    hint: Promise | str = ""

    @property
    def wants_app_password(self) -> bool:
        return self.sign_in is SignIn.APP_PASSWORD


PROVIDERS = (
    Provider(
        "Google",
        ("google.com", "googlemail.com"),
        "smtp.gmail.com",
        587,
        STARTTLS,
        SignIn.APP_PASSWORD,
        _(
            "Turn on 2-Step Verification in the Google account of the address, create an app "
            "password there, and type that one here. The administrator of the address may have "
            "switched app passwords off."
        ),
    ),
    # Before Microsoft 365, whose ending it shares.
    Provider(
        "Outlook.com",
        ("olc.protection.outlook.com",),
        "smtp-mail.outlook.com",
        587,
        STARTTLS,
        SignIn.NO_PASSWORD,
        _(
            "It lets only programs sign in that use Microsoft's own sign-in page, and Outgate "
            "can't. Choose “By our servers”."
        ),
    ),
    Provider(
        "Microsoft 365",
        ("mail.protection.outlook.com", "mx.microsoft"),
        "smtp.office365.com",
        587,
        STARTTLS,
        SignIn.NO_PASSWORD,
        _(
            "Password sign-in (SMTP AUTH) is off there by default. Ask the administrator of the "
            "address whether it is on for your mailbox; if not, choose “By our servers”."
        ),
    ),
    Provider(
        "Yahoo",
        ("yahoodns.net",),
        "smtp.mail.yahoo.com",
        465,
        TLS,
        SignIn.APP_PASSWORD,
        _("Create an app password in the security settings of the Yahoo account."),
    ),
    Provider(
        "iCloud",
        ("mail.icloud.com",),
        "smtp.mail.me.com",
        587,
        STARTTLS,
        SignIn.APP_PASSWORD,
        _(
            "Create an app-specific password in the security settings of the Apple Account. The "
            "user name is the iCloud address itself."
        ),
    ),
    Provider(
        "Fastmail",
        ("messagingengine.com",),
        "smtp.fastmail.com",
        465,
        TLS,
        SignIn.APP_PASSWORD,
        _("Create an app password in the privacy and security settings of Fastmail."),
    ),
    Provider(
        "Proton Mail",
        ("protonmail.ch",),
        "smtp.protonmail.ch",
        587,
        STARTTLS,
        SignIn.APP_PASSWORD,
        _(
            "Create an SMTP token for the address in the settings of Proton Mail, and type it as "
            "the password. Not every plan has tokens."
        ),
    ),
    Provider(
        "Yandex",
        ("yandex.net", "yandex.ru"),
        "smtp.yandex.com",
        465,
        TLS,
        SignIn.APP_PASSWORD,
        _("Create an app password for mail in the security settings of the Yandex account."),
    ),
    Provider("Zoho", ("zoho.com",), "smtp.zoho.com", 465, TLS),
    Provider("Zoho", ("zoho.eu",), "smtp.zoho.eu", 465, TLS),
    Provider("GMX", ("gmx.net",), "mail.gmx.net", 587, STARTTLS),
    Provider("WEB.DE", ("web.de",), "smtp.web.de", 587, STARTTLS),
    Provider("IONOS", ("ionos.com",), "smtp.ionos.com", 465, TLS),
    Provider("IONOS", ("kundenserver.de", "ionos.de"), "smtp.ionos.de", 465, TLS),
    Provider("OVHcloud", ("ovh.net",), "ssl0.ovh.net", 465, TLS),
    Provider("Gandi", ("mail.gandi.net",), "mail.gandi.net", 465, TLS),
    Provider("Infomaniak", ("infomaniak.ch",), "mail.infomaniak.com", 465, TLS),
    Provider("mailbox.org", ("mailbox.org",), "smtp.mailbox.org", 465, TLS),
    Provider("Migadu", ("migadu.com",), "smtp.migadu.com", 465, TLS),
    Provider("Rackspace", ("emailsrvr.com",), "secure.emailsrvr.com", 465, TLS),
)


def provider_behind(mail_host: str) -> Provider | None:
    """Who receives mail at an MX name, or runs the submission server of that name."""
    name = mail_host.lower().removesuffix(".")
    for provider in PROVIDERS:
        if name == provider.host or name.endswith(tuple(f".{end}" for end in provider.mail_hosts)):
            return provider
    return None
