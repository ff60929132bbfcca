"""Giving and taking roles: super administrators only, and one of them always stays."""

from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege, RoleAssignment, User
from accounts.models.directory import in_own_domains
from accounts.services.audit import Actor, record_event
from accounts.services.directory import lock_roles
from accounts.services.rights import demand_super_admin

Role = RoleAssignment.Role


def assign_role(
    *,
    actor: Actor,
    user: User,
    role: str,
    unit: OrgUnit | None = None,
    privileges: Collection[str] = (),
) -> RoleAssignment:
    """Give a role; an administrator needs a primary address in one of the own domains.

    Raise ValidationError for an address outside them, a role that the account has, or a unit
    administrator without unit or privilege.
    """
    with transaction.atomic():
        lock_roles()
        demand_super_admin(actor)
        if role != Role.SUPPORT and not in_own_domains(user.primary_address):
            raise ValidationError(
                _(
                    "%(address)s lies outside the organisation's domains. Only an account with a "
                    "primary address inside them can be an administrator."
                )
                % {"address": user.primary_address}
            )
        if RoleAssignment.objects.filter(user=user, role=role, unit=unit).exists():
            raise ValidationError(
                _("%(address)s has this role already. Change it in the list.")
                % {"address": user.primary_address}
            )
        assignment = RoleAssignment(
            user=user, role=role, unit=unit, privileges=_in_order(privileges)
        )
        assignment.full_clean()
        assignment.save()
        _record(actor, "role_assigned", assignment, new=_text(assignment))
    return assignment


def change_privileges(
    *, actor: Actor, assignment: RoleAssignment, privileges: Collection[str]
) -> None:
    """Replace what a unit administrator may do.

    Raise ValidationError for none at all, and where the role was taken meanwhile.
    """
    with transaction.atomic():
        lock_roles()
        demand_super_admin(actor)
        roles = RoleAssignment.objects.select_related("user", "unit")
        current = roles.filter(pk=assignment.pk).first()
        if current is None:
            raise ValidationError(_("This role was taken away meanwhile. Nothing was saved."))
        old, current.privileges = _text(current), _in_order(privileges)
        current.full_clean()
        if _text(current) != old:
            current.save(update_fields=["privileges"])
            _record(actor, "role_changed", current, old=old, new=_text(current))


def remove_role(*, actor: Actor, assignment: RoleAssignment) -> None:
    """Take a role. Raise ValidationError for that of the last super administrator."""
    with transaction.atomic():
        lock_roles()
        demand_super_admin(actor)
        if assignment.role == Role.SUPER_ADMIN:
            keep_a_super_admin(besides=assignment.user)
        if RoleAssignment.objects.filter(pk=assignment.pk).delete()[0]:
            _record(actor, "role_removed", assignment, old=_text(assignment))


def super_administrators() -> list[User]:
    """Those who can act: not suspended, with a primary address inside the own domains."""
    named = User.objects.filter(suspended=False, roles__role=Role.SUPER_ADMIN)
    return [user for user in named if user.is_super_admin]


def administrators_of(account: User, privilege: Privilege) -> list[User]:
    """Delegated administrators who can act, with the privilege at the account's unit or above it.

    None for an account that has a role: only super administrators change those.
    """
    if RoleAssignment.objects.filter(user=account).exists():
        return []
    named = RoleAssignment.objects.filter(
        role=Role.UNIT_ADMIN, privileges__contains=[privilege], unit__path__in=account.unit.lineage
    )
    users = User.objects.filter(suspended=False, pk__in=named.values("user"))
    return [
        user for user in users if in_own_domains(user.primary_address) and not user.is_super_admin
    ]


def keep_a_super_admin(*, besides: User) -> None:
    """Raise ValidationError where `besides` is the last super administrator who can act.

    Call it behind lock_roles: two who remove each other must not both succeed.
    """
    if {user.pk for user in super_administrators()} == {besides.pk}:
        raise ValidationError(
            _("%(address)s is the last super administrator. Give that role to somebody else first.")
            % {"address": besides.primary_address}
        )


def _in_order(privileges: Collection[str]) -> list[str]:
    unknown = set(privileges) - set(Privilege.values)
    return [value for value in Privilege.values if value in privileges] + sorted(unknown)


def _text(assignment: RoleAssignment) -> str:
    """ "unit_admin: mail_settings, reports": a role as the audit keeps it."""
    privileges = ", ".join(assignment.privileges)
    return f"{assignment.role}: {privileges}" if privileges else assignment.role


def _record(actor: Actor, name: str, assignment: RoleAssignment, **values: str) -> None:
    record_event(
        actor,
        name,
        assignment.user.primary_address,
        unit=assignment.unit or assignment.user.unit,
        **values,
    )
