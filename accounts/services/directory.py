"""Domains and the unit tree, for super administrators.

Tree writes are serialised: concurrent moves leave orphans.
"""

import unicodedata
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.address_words import address_refusal
from accounts.models import Alias, Domain, OrgUnit, RoleAssignment, User
from accounts.models.directory import path_names
from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_super_admin
from smtp.address import AddressError, normalise_address, split_address

# Any numbers of our own: one tree, one lock; primary addresses and aliases are one name space;
# roles, so that the last super administrator stays one.
TREE_LOCK = 7_216_001
ADDRESS_LOCK = 7_216_002
ROLE_LOCK = 7_216_003


class SeenUnit(NamedTuple):
    """Its name and place when the page was made."""

    name: str
    path: str


class UnitGoneError(ValidationError):
    """The unit was deleted meanwhile."""


class UnitChangedError(ValidationError):
    """The unit has another name, or stands elsewhere, than the administrator saw."""


def lock_tree() -> None:
    """Wait for the tree; held until the transaction ends."""
    _lock(TREE_LOCK)


def lock_addresses() -> None:
    """Wait for the name space of addresses; held until the transaction ends."""
    _lock(ADDRESS_LOCK)


def lock_roles() -> None:
    """Wait for whoever else gives, takes or suspends roles; held until the transaction ends."""
    _lock(ROLE_LOCK)


def _lock(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def create_domain(
    *, actor: Actor, name: str, kind: str = Domain.Kind.SECONDARY, alias_of: Domain | None = None
) -> Domain:
    """Raise ValidationError for a name that is no domain or is already there.

    An alias domain must be empty: its addresses belong to the accounts of the other domain.
    """
    name = clean_domain(name)
    domain = Domain(name=name, kind=kind, alias_of=alias_of)
    with transaction.atomic():
        demand_super_admin(actor)
        lock_addresses()
        domain.full_clean()
        if kind == Domain.Kind.ALIAS and _has_addresses(name):
            raise ValidationError(
                {
                    "name": _("Accounts have addresses in %(name)s. Move them first.")
                    % {"name": name}
                }
            )
        domain.save()
        record_event(actor, "domain_created", domain.name, kind=kind)
    return domain


def clean_domain(name: str) -> str:
    """As it is kept. Raise ValidationError for what is none."""
    try:
        # Every mail domain has a postmaster (RFC 5321 4.5.1): one grammar for both.
        _local, name = split_address(normalise_address(f"postmaster@{name}"))
    except AddressError as error:
        raise ValidationError({"name": address_refusal(error)}) from error
    return name


def _has_addresses(domain: str) -> bool:
    at_domain = f"@{domain}"
    return (
        User.objects.filter(primary_address__endswith=at_domain).exists()
        or Alias.objects.filter(address__endswith=at_domain).exists()
    )


def create_unit(
    *,
    actor: Actor,
    name: str,
    parent: OrgUnit | None = None,
    description: str = "",
    seen: SeenUnit | None = None,
) -> OrgUnit:
    """Create the root (no parent) or a unit below `parent`, `seen` as it was shown.

    Raise ValidationError for an empty or long name, a second root, or a name that a sibling has;
    and as current_unit.
    """
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        parent = current_unit(parent, seen) if parent else None
        _check_name(name, parent)
        fields = {"name": name.strip(), "description": description}
        units = OrgUnit.objects
        unit: OrgUnit = units.add_child(parent, fields) if parent else units.add_root(fields)
        record_event(actor, "unit_created", path_names(unit), unit=unit, new=unit.name)
    return unit


def rename_unit(*, actor: Actor, unit: OrgUnit, name: str, seen: SeenUnit | None = None) -> OrgUnit:
    """Raise ValidationError as create_unit."""
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        unit = current_unit(unit, seen)
        _check_name(name, OrgUnit.objects.get_parent(unit), besides=unit)
        if name.strip() == unit.name:
            return unit
        old, unit.name = path_names(unit), name.strip()
        unit.save(update_fields=["name"])
        new = path_names(unit)
        record_event(actor, "unit_renamed", new, unit=unit, old=old, new=new)
    return unit


def move_unit(
    *,
    actor: Actor,
    unit: OrgUnit,
    parent: OrgUnit,
    reason: str = "",
    seen: SeenUnit | None = None,
    seen_parent: SeenUnit | None = None,
) -> OrgUnit:
    """Hang `unit`, with all below it, under `parent`; what applies there applies at once.

    Raise ValidationError for the topmost unit, a place inside the unit, or a name that is taken
    there; and as current_unit of both.
    """
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        unit, parent = current_unit(unit, seen), current_unit(parent, seen_parent)
        if unit.is_root():
            raise ValidationError(_("The topmost unit stays where it is."))
        if parent.path.startswith(unit.path):
            raise ValidationError(_("A unit can't be moved into itself or below itself."))
        _check_name(unit.name, parent, besides=unit)
        old = path_names(unit)
        OrgUnit.objects.move(unit, parent, pos="last-child")
        unit = OrgUnit.objects.get(pk=unit.pk)
        new = path_names(unit)
        record_event(actor, "unit_moved", new, unit=unit, old=old, new=new, reason=reason)
    return unit


def delete_unit(
    *, actor: Actor, unit: OrgUnit, reason: str = "", seen: SeenUnit | None = None
) -> None:
    """Delete a unit that nothing stands in, with what is set for it.

    Raise ValidationError with all that keeps it; and as current_unit.
    """
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        lock_roles()
        # Whoever puts something into it at this moment is waited for.
        OrgUnit.objects.select_for_update().filter(pk=unit.pk).first()
        unit = current_unit(unit, seen)
        if kept_by := what_keeps(unit):
            raise ValidationError(kept_by)
        record_event(actor, "unit_deleted", path_names(unit), unit=unit, reason=reason)
        unit.delete()


def what_keeps(unit: OrgUnit) -> list[str]:
    """Why the unit can't be deleted, each with what to do first. Two queries."""
    if unit.is_root():
        return [_("The topmost unit holds all others. It can be renamed, not deleted.")]
    accounts = User.objects.filter(unit=unit).count()
    roles = RoleAssignment.objects.filter(unit=unit).count()
    told = [
        (
            unit.numchild,
            ngettext(
                "%(count)s unit stands below it. Move or delete that first.",
                "%(count)s units stand below it. Move or delete those first.",
                unit.numchild,
            ),
        ),
        (
            accounts,
            ngettext(
                "%(count)s account is in it, suspended or not. Move it to another unit first.",
                "%(count)s accounts are in it, suspended or not. Move them to another unit first.",
                accounts,
            ),
        ),
        (
            roles,
            ngettext(
                "%(count)s administrator has a role for it. Take that role away first.",
                "%(count)s administrators have a role for it. Take those roles away first.",
                roles,
            ),
        ),
    ]
    return [text % {"count": f"{count:,}"} for count, text in told if count]


def current_unit(unit: OrgUnit, seen: SeenUnit | None = None) -> OrgUnit:
    """The unit as it is now; call it behind lock_tree, so that it stays so.

    Raise UnitGoneError, or UnitChangedError where it is not as it was seen.
    """
    now: OrgUnit | None = OrgUnit.objects.filter(pk=unit.pk).first()
    if now is None:
        raise UnitGoneError(
            _("%(unit)s was deleted meanwhile. Nothing was done.")
            % {"unit": seen.name if seen else unit.name}
        )
    if seen and seen != (now.name, now.path):
        raise UnitChangedError(
            _(
                "%(unit)s was moved or renamed meanwhile: it is now %(path)s. Nothing was done. "
                "Look again, then do it all the same."
            )
            % {"unit": seen.name, "path": path_names(now)}
        )
    return now


def _check_name(name: str, parent: OrgUnit | None, besides: OrgUnit | None = None) -> None:
    name = name.strip()
    if not name:
        raise ValidationError(_("Give the unit a name."))
    longest = OrgUnit._meta.get_field("name").max_length or 0
    if len(name) > longest or any(unicodedata.category(each) == "Cc" for each in name):
        raise ValidationError(
            _("A name is one line of at most %(count)d characters.") % {"count": longest}
        )
    units = OrgUnit.objects
    siblings = units.get_children(parent) if parent else units.get_root_nodes()
    if besides:
        siblings = siblings.exclude(pk=besides.pk)
    if parent is None and siblings.exists():
        raise ValidationError(_("There is one topmost unit already."))
    if siblings.filter(name__iexact=name).exists():
        raise ValidationError(_("A unit of this name stands there already. Choose another name."))
