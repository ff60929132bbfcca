"""Who may do what where. Every service asks here, whatever the page that called it has checked.

Rights are read from the database each time: a role that was taken away counts at once. An actor
without an account is the system itself (a command, a task), which may do everything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege, RoleAssignment, User
from accounts.models.directory import in_own_domains
from accounts.services.audit import Actor

Role = RoleAssignment.Role


@dataclass(frozen=True)
class Rights:
    """`tops`: for each privilege the paths of the topmost units, each with all below it."""

    is_super: bool
    tops: Mapping[str, list[str]]

    def paths(self, *privileges: Privilege) -> list[str]:
        """The topmost units where the account has one of these privileges, or any at all."""
        wanted = privileges or Privilege
        return _topmost(path for each in wanted for path in self.tops.get(each, []))

    def reach(self, unit_path: str, privilege: Privilege) -> bool:
        return unit_path.startswith(tuple(self.paths(privilege)))


NOTHING = Rights(is_super=False, tops={})


def rights_of(user: User) -> Rights:
    """What an account may administer now; three queries at most.

    Nothing while it is suspended or its primary address lies in no own domain.
    """
    rows = list(
        RoleAssignment.objects.filter(user_id=user.pk, user__suspended=False)
        .exclude(role=Role.SUPPORT)
        .values_list("role", "privileges", "unit__path", "user__primary_address")
    )
    if not rows or not in_own_domains(rows[0][3]):
        return NOTHING
    if any(role == Role.SUPER_ADMIN for role, *_rest in rows):
        roots = list(OrgUnit.objects.get_root_nodes().values_list("path", flat=True))
        return Rights(is_super=True, tops=dict.fromkeys(Privilege.values, roots))
    return Rights(
        is_super=False,
        tops={
            privilege: _topmost(path for _role, given, path, _ in rows if privilege in given)
            for privilege in Privilege.values
        },
    )


def _topmost(paths: Iterable[str]) -> list[str]:
    top: list[str] = []
    for path in sorted(paths):
        if not path.startswith(tuple(top)):
            top.append(path)
    return top


def administers(user: User, unit: OrgUnit, privilege: Privilege) -> bool:
    """Whether the account has the privilege at that unit: by a role there or above it."""
    return rights_of(user).reach(unit.path, privilege)


def demand_super_admin(actor: Actor) -> None:
    if actor.user and not rights_of(actor.user).is_super:
        raise PermissionDenied(_("Only a super administrator can do that."))


def demand_privilege(actor: Actor, unit: OrgUnit, privilege: Privilege) -> None:
    if actor.user and not administers(actor.user, unit, privilege):
        raise PermissionDenied(
            _("You don't administer %(unit)s, or not with the privilege %(privilege)s.")
            % {"unit": unit.name, "privilege": privilege.label}
        )


def demand_account(actor: Actor, user: User) -> None:
    """To change an account: *users* at its unit; a super administrator where it has a role.

    Else an administrator of a unit could take over, or shut out, one who stands above him.
    """
    if actor.user is None:
        return
    if RoleAssignment.objects.filter(user_id=user.pk).exists():
        demand_super_admin(actor)
    else:
        demand_privilege(actor, OrgUnit.objects.get(users=user.pk), Privilege.USERS)


def demand_owner(actor: Actor, user: User) -> None:
    """For what would let somebody act as the account, which nobody else may, whatever his role."""
    if actor.user and actor.user.pk != user.pk:
        raise PermissionDenied(_("Only the account itself can do that."))


def demand_owner_or_support(actor: Actor, user: User) -> None:
    """For what protects an account: its owner, support, or who may change the account."""
    if actor.user is None or actor.user.pk == user.pk:
        return
    if not _is_support(actor.user):
        demand_account(actor, user)


def demand_author(actor: Actor, author_id: UUID | None) -> None:
    """For what a message says, which nobody else may read, whatever his role."""
    if actor.user and actor.user.pk != author_id:
        raise PermissionDenied(_("Only its author can do that."))


def demand_author_or_support(actor: Actor, author_id: UUID | None) -> None:
    """For a message that an account handed in, by its id; None where the account is gone.

    Who may change the account has no business with its mail; a super administrator has.
    """
    if actor.user is None or actor.user.pk == author_id:
        return
    if not _is_support(actor.user):
        demand_super_admin(actor)


def _is_support(user: User) -> bool:
    support = RoleAssignment.objects.filter(
        user_id=user.pk, user__suspended=False, role=Role.SUPPORT
    )
    return support.exists()
