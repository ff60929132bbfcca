"""The first account of an installation, and a way in for super administrators who have none."""

from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Domain, OrgUnit, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain, create_unit, lock_addresses
from accounts.services.people import clean_address, create_user
from accounts.services.roles import assign_role
from smtp.address import split_address

SUPER_ADMIN = RoleAssignment.Role.SUPER_ADMIN


class Made(NamedTuple):
    """`is_new` account, or one that was there; `was_super_admin` already."""

    user: User
    is_new: bool
    was_super_admin: bool


def make_super_administrator(*, address: str, name: str) -> Made:
    """Make what is missing of: primary domain, topmost unit, account, role.

    `name` is for a new account only. Raise ValidationError for what is no address, for one outside
    the own domains, for a new account without a name, and for a suspended one.
    """
    address = clean_address(address)
    with transaction.atomic():
        lock_addresses()
        root = _found_organisation(split_address(address)[1])
        known = User.objects.filter(primary_address=address).first()
        if known and known.suspended:
            raise ValidationError(
                _("%(address)s is suspended. Restore the account first.") % {"address": address}
            )
        user = known or create_user(actor=SYSTEM, primary_address=address, name=name, unit=root)
        had_role = user.roles.filter(role=SUPER_ADMIN).exists()
        if not had_role:
            assign_role(actor=SYSTEM, user=user, role=SUPER_ADMIN)
    return Made(user, known is None, had_role)


def _found_organisation(domain: str) -> OrgUnit:
    """The topmost unit; it and the primary domain are made where there is none."""
    domains = Domain.objects
    if not domains.filter(kind=Domain.Kind.PRIMARY).exists():
        create_domain(actor=SYSTEM, name=domain, kind=Domain.Kind.PRIMARY)
    root: OrgUnit | None = OrgUnit.objects.get_root_nodes().first()
    return root or create_unit(actor=SYSTEM, name=domain)
