"""A new account, and its owner's way in: a link by mail to choose a password by.

It goes to the account's own address and is shown to nobody: whoever has it can act as the account.
"""

from smtplib import SMTPException

from allauth.account import app_settings
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import Domain, OrgUnit, User
from accounts.services.audit import Actor, record_event
from accounts.services.directory import SeenUnit, current_unit, lock_addresses, lock_tree
from accounts.services.mails import send_mail
from accounts.services.people import clean_address, create_user
from accounts.services.rights import demand_account
from smtp.address import split_address

DAY = 24 * 3600
MAILED_AGAIN_AFTER = 60  # seconds


def create_account(
    *, actor: Actor, primary_address: str, name: str, unit: OrgUnit, seen: SeenUnit | None = None
) -> User:
    """An account inside the own domains, in `unit`, `seen` as it was shown; without a password.

    Raise ValidationError as create_user, and for an address outside; and as current_unit.
    """
    address = clean_address(primary_address)
    with transaction.atomic():
        lock_addresses()
        lock_tree()
        unit = current_unit(unit, seen)
        _demand_own_domain(address)
        return create_user(actor=actor, primary_address=address, name=name, unit=unit)


def mail_password_link(*, actor: Actor, user: User, reason: str = "") -> None:
    """Mail the account's owner a link to choose a password by, and set up nothing else.

    Raise ValidationError where the mail could not be handed over, for a suspended account, and
    where another was mailed within `MAILED_AGAIN_AFTER`, as by a second click.
    """
    demand_account(actor, user)
    if user.suspended:
        raise ValidationError(_("A suspended account can't sign in. Restore it first."))
    if user.has_usable_password():
        raise ValidationError(
            _("The person has chosen a password already. “Forgotten?” at the sign-in mails a link.")
        )
    key = f"password_link_mailed:{user.pk}"
    if not _claim(user, key):
        raise ValidationError(
            _(
                "A link was mailed to %(address)s less than a minute ago, or is being mailed. "
                "If it does not arrive, mail another in a minute."
            )
            % {"address": user.primary_address}
        )
    context = {
        "address": user.primary_address,
        "link": password_link(user),
        "days": settings.PASSWORD_RESET_TIMEOUT // DAY,
        "again": settings.BASE_URL + reverse("account_reset_password"),
    }
    try:
        send_mail("accounts/mail/welcome", to=[user.primary_address], reader=user, context=context)
    except (OSError, SMTPException) as error:
        cache.delete(key)
        raise ValidationError(
            _("The mail to %(address)s did not leave: the mail server did not take it.")
            % {"address": user.primary_address}
        ) from error
    record_event(actor, "password_link_mailed", user.primary_address, unit=user.unit, reason=reason)


def _claim(user: User, key: str) -> bool:
    with transaction.atomic():
        # Where an entry has expired, the cache alone would give it to two at once.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        return cache.add(key, "y", timeout=MAILED_AGAIN_AFTER)


def password_link(user: User) -> str:
    """Where the account's owner chooses a password: once, within PASSWORD_RESET_TIMEOUT."""
    token = app_settings.PASSWORD_RESET_TOKEN_GENERATOR().make_token(user)
    page = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), token])
    return f"{settings.BASE_URL}{page}"


def _demand_own_domain(address: str) -> None:
    local, name = split_address(address)
    domain = Domain.objects.select_related("alias_of").filter(name=name).first()
    if domain is None:
        own = Domain.objects.exclude(kind=Domain.Kind.ALIAS).order_by("kind", "name")
        raise ValidationError(
            _(
                "%(address)s lies outside the organisation's domains. An account has an address "
                "inside, such as %(example)s."
            )
            % {"address": address, "example": f"{local}@{own[0].name}"}
        )
    if domain.alias_of:
        raise ValidationError(
            _(
                "%(domain)s is an alias of %(other)s, where each address is one of %(domain)s too. "
                "Write %(address)s."
            )
            % {
                "domain": domain.name,
                "other": domain.alias_of.name,
                "address": f"{local}@{domain.alias_of.name}",
            }
        )
