"""Accounts, their addresses and their roles."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Alias, Domain, OrgUnit, RoleAssignment, User
from accounts.models.directory import in_own_domains, path_names
from accounts.services.audit import Actor, record_event
from accounts.services.directory import lock_addresses
from smtp.address import AddressError, normalise_address, split_address


def create_user(
    *, actor: Actor, primary_address: str, name: str, unit: OrgUnit, password: str | None = None
) -> User:
    """Raise ValidationError where the address is taken, or is none."""
    address = _clean_address(primary_address)
    with transaction.atomic():
        _reserve_address(address)
        user = User.objects.create_user(
            primary_address=address, name=name, unit=unit, password=password
        )
        record_event(actor, "account_created", address, unit=path_names(unit))
    return user


def move_user(*, actor: Actor, user: User, unit: OrgUnit) -> None:
    """Put the account into `unit`; what applies there applies at once."""
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        old, user.unit = path_names(user.unit), unit
        user.save(update_fields=["unit"])
        record_event(actor, "account_moved", user.primary_address, old=old, new=path_names(unit))


def suspend_user(*, actor: Actor, user: User) -> None:
    """The account can neither sign in nor send from now on; its open sessions end."""
    with transaction.atomic():
        if User.objects.filter(pk=user.pk, suspended=False).update(suspended=True):
            record_event(actor, "account_suspended", user.primary_address)


def restore_user(*, actor: Actor, user: User) -> None:
    with transaction.atomic():
        if User.objects.filter(pk=user.pk, suspended=True).update(suspended=False):
            record_event(actor, "account_restored", user.primary_address)


def add_alias(*, actor: Actor, user: User, address: str) -> Alias:
    """Give the account a further address inside the own domains.

    Raise ValidationError where it lies outside them or is taken.
    """
    address = _clean_address(address)
    if not Domain.objects.filter(name=split_address(address)[1]).exists():
        raise ValidationError(
            _(
                "%(address)s lies outside the organisation's domains. The person can add it as an "
                "address to send from."
            )
            % {"address": address}
        )
    with transaction.atomic():
        _reserve_address(address)
        alias = Alias.objects.create(user=user, address=address)
        record_event(actor, "alias_added", user.primary_address, alias=address)
    return alias


def remove_alias(*, actor: Actor, alias: Alias) -> None:
    with transaction.atomic():
        record_event(actor, "alias_removed", alias.user.primary_address, alias=alias.address)
        alias.delete()


def assign_role(
    *, actor: Actor, user: User, role: str, unit: OrgUnit | None = None
) -> RoleAssignment:
    """Give a role; an administrator needs a primary address in one of the own domains."""
    if role != RoleAssignment.Role.SUPPORT and not in_own_domains(user.primary_address):
        raise ValidationError(
            _(
                "%(address)s lies outside the organisation's domains. Only an account with a "
                "primary address inside them can be an administrator."
            )
            % {"address": user.primary_address}
        )
    assignment = RoleAssignment(user=user, role=role, unit=unit)
    with transaction.atomic():
        assignment.full_clean()
        assignment.save()
        record_event(
            actor,
            "role_assigned",
            user.primary_address,
            role=role,
            unit=path_names(unit) if unit else "",
        )
    return assignment


def remove_role(*, actor: Actor, assignment: RoleAssignment) -> None:
    with transaction.atomic():
        record_event(actor, "role_removed", assignment.user.primary_address, role=assignment.role)
        assignment.delete()


def super_administrators() -> list[User]:
    """Those who can act: not suspended, with a primary address inside the own domains."""
    named = User.objects.filter(suspended=False, roles__role=RoleAssignment.Role.SUPER_ADMIN)
    return [user for user in named if user.is_super_admin]


def administered_paths(user: User) -> list[str]:
    """The paths of the topmost units that `user` administers, with all below them."""
    if user.suspended or not in_own_domains(user.primary_address):
        return []
    if user.is_super_admin:
        return list(OrgUnit.objects.get_root_nodes().values_list("path", flat=True))
    top: list[str] = []
    for path in (
        user.roles.filter(role=RoleAssignment.Role.UNIT_ADMIN)
        .values_list("unit__path", flat=True)
        .order_by("unit__path")
    ):
        if not path.startswith(tuple(top)):
            top.append(path)
    return top


def administers(user: User, unit: OrgUnit) -> bool:
    """Whether `user` may change settings of `unit`: of all units, or of one at or above it."""
    return bool(unit.path.startswith(tuple(administered_paths(user))))


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


def _clean_address(address: str) -> str:
    try:
        return normalise_address(address)
    except AddressError as error:
        raise ValidationError(str(error)) from error


def _reserve_address(address: str) -> None:
    lock_addresses()
    twins = _twins(address)
    if (
        User.objects.filter(primary_address__in=twins).exists()
        or Alias.objects.filter(address__in=twins).exists()
    ):
        raise ValidationError(
            _("%(address)s belongs to an account already.") % {"address": address}
        )


def _twins(address: str) -> list[str]:
    """The address, and what it is at the domains that are aliases of one another: one mailbox."""
    local, domain = split_address(address)
    target = Domain.objects.filter(name=domain, kind=Domain.Kind.ALIAS)
    primary = target.values_list("alias_of__name", flat=True).first() or domain
    aliases = Domain.objects.filter(alias_of__name=primary).values_list("name", flat=True)
    return [f"{local}@{name}" for name in {domain, primary, *aliases}]
