"""Domains and the unit tree, for super administrators.

Tree writes are serialised: concurrent moves leave orphans.
"""

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from accounts.address_words import address_refusal
from accounts.models import Alias, Domain, OrgUnit, User
from accounts.models.directory import path_names
from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_super_admin
from smtp.address import AddressError, normalise_address, split_address

# Any numbers of our own: one tree, one lock; primary addresses and aliases are one name space;
# roles, so that the last super administrator stays one.
TREE_LOCK = 7_216_001
ADDRESS_LOCK = 7_216_002
ROLE_LOCK = 7_216_003


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
    *, actor: Actor, name: str, parent: OrgUnit | None = None, description: str = ""
) -> OrgUnit:
    """Create the root (no parent) or a unit below `parent`.

    Raise ValidationError for an empty name, a second root, or a name that a sibling has.
    """
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        parent = OrgUnit.objects.get(pk=parent.pk) if parent else None
        _check_name(name, parent)
        fields = {"name": name.strip(), "description": description}
        units = OrgUnit.objects
        unit: OrgUnit = units.add_child(parent, fields) if parent else units.add_root(fields)
        record_event(actor, "unit_created", path_names(unit), unit=unit, new=unit.name)
    return unit


def rename_unit(*, actor: Actor, unit: OrgUnit, name: str) -> OrgUnit:
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        unit = OrgUnit.objects.get(pk=unit.pk)
        _check_name(name, OrgUnit.objects.get_parent(unit), besides=unit)
        old, unit.name = path_names(unit), name.strip()
        unit.save(update_fields=["name"])
        new = path_names(unit)
        record_event(actor, "unit_renamed", new, unit=unit, old=old, new=new)
    return unit


def move_unit(*, actor: Actor, unit: OrgUnit, parent: OrgUnit) -> OrgUnit:
    """Hang `unit`, with all below it, under `parent`; what applies there applies at once."""
    with transaction.atomic():
        demand_super_admin(actor)
        lock_tree()
        unit, parent = OrgUnit.objects.get(pk=unit.pk), OrgUnit.objects.get(pk=parent.pk)
        if unit.is_root():
            raise ValidationError(_("The topmost unit stays where it is."))
        if parent.path.startswith(unit.path):
            raise ValidationError(_("A unit can't be moved into itself or below itself."))
        _check_name(unit.name, parent, besides=unit)
        old = path_names(unit)
        OrgUnit.objects.move(unit, parent, pos="last-child")
        unit = OrgUnit.objects.get(pk=unit.pk)
        new = path_names(unit)
        record_event(actor, "unit_moved", new, unit=unit, old=old, new=new)
    return unit


def _check_name(name: str, parent: OrgUnit | None, besides: OrgUnit | None = None) -> None:
    if not name.strip():
        raise ValidationError(_("Give the unit a name."))
    units = OrgUnit.objects
    siblings = units.get_children(parent) if parent else units.get_root_nodes()
    if besides:
        siblings = siblings.exclude(pk=besides.pk)
    if parent is None and siblings.exists():
        raise ValidationError(_("There is one topmost unit already."))
    if siblings.filter(name__iexact=name.strip()).exists():
        raise ValidationError(_("A unit of this name stands there already. Choose another name."))
