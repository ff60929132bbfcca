import json
import os
import secrets
from typing import Any

from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.models import Domain, OrgUnit, Privilege, User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain, create_unit
from accounts.services.people import add_alias, create_user
from accounts.services.roles import assign_role
from config.demo_organisation import ACCOUNTS, DOMAIN, UNITS, DemoAccount
from config.installation import read_installation, write_private

SignIn = dict[str, str | None]


class Command(BaseCommand):
    help = "Make the demo organisation, once, and keep its people's sign-ins in a file."

    def handle(self, *_args: Any, **_options: Any) -> None:
        path = read_installation(os.environ).sign_ins
        known: dict[str, SignIn] = json.loads(path.read_text()) if path.exists() else {}
        with transaction.atomic():
            # What people have changed since stays as they left it.
            if not Domain.objects.filter(name=DOMAIN).exists():
                known = {}
                _make_organisation()
            users = User.objects.filter(primary_address__in=[each.address for each in ACCOUNTS])
            sign_ins = {user.primary_address: _sign_in_of(user, known) for user in users}
        write_private(path, json.dumps(sign_ins, indent=2))


def _make_organisation() -> None:
    create_domain(actor=SYSTEM, name=DOMAIN, kind=Domain.Kind.PRIMARY)
    units: dict[str | None, OrgUnit] = {}
    for name, parent in UNITS:
        units[name] = create_unit(actor=SYSTEM, name=name, parent=units.get(parent))
    for account in ACCOUNTS:
        _make_account(account, units[account.unit])


def _make_account(account: DemoAccount, unit: OrgUnit) -> None:
    user = create_user(actor=SYSTEM, primary_address=account.address, name=account.name, unit=unit)
    for alias in account.aliases:
        add_alias(actor=SYSTEM, user=user, address=alias)
    if account.role != "user":
        bounded = account.role == "unit_admin"
        assign_role(
            actor=SYSTEM,
            user=user,
            role=account.role,
            unit=unit if bounded else None,
            privileges=Privilege.values if bounded else (),
        )


def _sign_in_of(user: User, known: dict[str, SignIn]) -> SignIn:
    sign_in = known.get(user.primary_address) or _new_sign_in(user)
    # A demo made before there were second factors gets them now.
    if "totp_secret" not in sign_in:
        sign_in["totp_secret"] = _new_second_factor(user) if user.roles.exists() else None
    return sign_in


def _new_sign_in(user: User) -> SignIn:
    web_password = secrets.token_urlsafe(12)
    user.set_password(web_password)
    user.save(update_fields=["password"])
    _, app_password = create_app_password(actor=SYSTEM, user=user, name="Demo")
    return {"web_password": web_password, "app_password": app_password}


def _new_second_factor(user: User) -> str:
    """Its codes stand on the demo's page, so that nobody needs a telephone to look round."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return str(secret)
