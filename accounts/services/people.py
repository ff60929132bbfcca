"""Accounts and their addresses.

Who may change them: the administrators of their unit with the privilege *users*; accounts with a
role of their own only super administrators.
"""

import unicodedata

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.address_words import address_refusal
from accounts.models import Alias, Domain, OrgUnit, Privilege, User
from accounts.models.directory import path_names
from accounts.models.people import MAX_NAME
from accounts.services.audit import Actor, record_event
from accounts.services.directory import (
    SeenUnit,
    current_unit,
    lock_addresses,
    lock_roles,
    lock_tree,
)
from accounts.services.rights import demand_account, demand_privilege
from accounts.services.roles import keep_a_super_admin
from smtp.address import AddressError, normalise_address, split_address


def create_user(
    *, actor: Actor, primary_address: str, name: str, unit: OrgUnit, password: str | None = None
) -> User:
    """Raise ValidationError where the address is taken, or is none, and for an unfit name."""
    address, name = clean_address(primary_address), clean_name(name)
    with transaction.atomic():
        demand_privilege(actor, unit, Privilege.USERS)
        _reserve_address(address)
        user = User.objects.create_user(
            primary_address=address, name=name, unit=unit, password=password
        )
        record_event(actor, "account_created", address, unit=unit, new=path_names(unit))
    return user


def rename_user(*, actor: Actor, user: User, name: str, seen_name: str | None = None) -> None:
    """Change what the person is called; `seen_name` is what a page showed.

    Raise ValidationError for an unfit name, and where the account was renamed meanwhile.
    """
    name = clean_name(name)
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        demand_account(actor, user)
        if user.name == name:
            return
        if seen_name not in {None, user.name}:
            raise ValidationError(
                _(
                    "The account was renamed meanwhile: it is called %(name)s now. Nothing was "
                    "done. Look again, then do it all the same."
                )
                % {"name": user.name}
            )
        old, user.name = user.name, name
        user.save(update_fields=["name"])
        record_event(
            actor, "account_renamed", user.primary_address, unit=user.unit, old=old, new=name
        )


def move_user(
    *,
    actor: Actor,
    user: User,
    unit: OrgUnit,
    reason: str = "",
    seen_unit_id: int | None = None,
    seen_target: SeenUnit | None = None,
) -> None:
    """Put the account into `unit`; what applies there applies at once.

    `seen_unit_id` is the unit in which a page showed it, `seen_target` the new one as shown. Raise
    ValidationError where the account was moved elsewhere meanwhile; and as current_unit.
    """
    with transaction.atomic():
        lock_tree()
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        demand_account(actor, user)
        unit = current_unit(unit, seen_target)
        demand_privilege(actor, unit, Privilege.USERS)
        if user.unit_id == unit.pk:
            return
        if seen_unit_id not in {None, user.unit_id}:
            raise ValidationError(
                _("The account was moved to %(unit)s meanwhile. Nothing was done.")
                % {"unit": user.unit.name}
            )
        old, user.unit = path_names(user.unit), unit
        user.save(update_fields=["unit"])
        record_event(
            actor,
            "account_moved",
            user.primary_address,
            unit=unit,
            old=old,
            new=path_names(unit),
            reason=reason,
        )


def suspend_user(*, actor: Actor, user: User, reason: str = "") -> None:
    """The account can neither sign in nor send from now on; its open sessions end for good.

    Raise ValidationError where nobody would be left to give roles, and for one's own account.
    """
    with transaction.atomic():
        lock_roles()
        demand_account(actor, user)
        if actor.user and actor.user.pk == user.pk:
            raise ValidationError(
                _("You can't suspend your own account: you could not restore it.")
            )
        keep_a_super_admin(besides=user)
        active = User.objects.filter(pk=user.pk, suspended=False)
        if active.update(suspended=True, session_generation=F("session_generation") + 1):
            record_event(
                actor, "account_suspended", user.primary_address, unit=user.unit, reason=reason
            )


def restore_user(*, actor: Actor, user: User, reason: str = "") -> None:
    with transaction.atomic():
        demand_account(actor, user)
        if User.objects.filter(pk=user.pk, suspended=True).update(suspended=False):
            record_event(
                actor, "account_restored", user.primary_address, unit=user.unit, reason=reason
            )


def choose_language(user: User, language: str) -> None:
    """One of `settings.LANGUAGES`. Nobody's business but the person's: no audit event."""
    User.objects.filter(pk=user.pk).update(language=language)


def keep_first_language(user: User, language: str) -> None:
    """The language of the first sign-in, until the person chooses one."""
    User.objects.filter(pk=user.pk, language="").update(language=language)


def add_alias(*, actor: Actor, user: User, address: str) -> Alias:
    """Give the account a further address inside the own domains.

    Raise ValidationError where it lies outside them or is taken.
    """
    address = clean_address(address)
    if not Domain.objects.filter(name=split_address(address)[1]).exists():
        raise ValidationError(
            _(
                "%(address)s lies outside the organisation's domains. The person can add it as an "
                "address to send from."
            )
            % {"address": address}
        )
    with transaction.atomic():
        demand_account(actor, user)
        _reserve_address(address)
        alias = Alias.objects.create(user=user, address=address)
        record_event(actor, "alias_added", user.primary_address, unit=user.unit, new=address)
    return alias


def remove_alias(*, actor: Actor, alias: Alias) -> bool:
    """Whether it was still there."""
    user = alias.user
    with transaction.atomic():
        demand_account(actor, user)
        removed, _by_model = Alias.objects.filter(pk=alias.pk).delete()
        if removed:
            record_event(
                actor, "alias_removed", user.primary_address, unit=user.unit, old=alias.address
            )
    return bool(removed)


def own_addresses(user: User) -> list[str]:
    """Primary address first, then aliases, then both at the alias domains of their domains."""
    stated = [user.primary_address, *user.aliases.values_list("address", flat=True)]
    pairs = [split_address(address) for address in stated]
    alias_domains = Domain.objects.filter(
        kind=Domain.Kind.ALIAS, alias_of__name__in={domain for _local, domain in pairs}
    ).values_list("name", "alias_of__name")
    derived = [
        f"{local}@{alias}"
        for alias, target in alias_domains
        for local, domain in pairs
        if domain == target
    ]
    return list(dict.fromkeys([*stated, *derived]))


def clean_address(address: str) -> str:
    """As it is kept. Raise ValidationError for what is none."""
    try:
        return normalise_address(address)
    except AddressError as error:
        raise ValidationError(address_refusal(error)) from error


def clean_name(name: str) -> str:
    """As it is kept. Raise ValidationError for none, a long one, and control characters."""
    name = name.strip()
    if not name:
        raise ValidationError(_("Give the account a name."))
    if len(name) > MAX_NAME or any(unicodedata.category(each) == "Cc" for each in name):
        raise ValidationError(
            _("A name is one line of at most %(count)d characters.") % {"count": MAX_NAME}
        )
    return name


def _reserve_address(address: str) -> None:
    lock_addresses()
    twins = _twins(address)
    taken = User.objects.filter(primary_address__in=twins).values_list("primary_address")
    if taken.union(Alias.objects.filter(address__in=twins).values_list("address")).exists():
        raise ValidationError(
            _("%(address)s belongs to an account already.") % {"address": address}
        )


def _twins(address: str) -> list[str]:
    """The address, and what it is at the domains that are aliases of one another: one mailbox."""
    local, domain = split_address(address)
    alias_domains = Domain.objects.filter(kind=Domain.Kind.ALIAS)
    targets = dict(alias_domains.values_list("name", "alias_of__name"))
    primary = targets.get(domain, domain)
    aliases = {name for name, target in targets.items() if target == primary}
    return [f"{local}@{name}" for name in {domain, primary, *aliases}]
