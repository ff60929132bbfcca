"""The only way to units and changes: who doesn't administer them gets 404.

Who does is led to the second factor first, until it was used in this session.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from accounts.access import signed_in
from accounts.models import OrgUnit, Privilege, RoleAssignment, User
from accounts.requests import SignedInRequest
from accounts.second_factor import lead_to_second_factor
from accounts.services.rights import Rights, rights_of
from console.seen_account import has_seen
from console.seen_unit import seen_unit
from delivery.models import Delivery
from policies.models import PolicyChange, RolloutWave

P = ParamSpec("P")


class AdminRequest(SignedInRequest):
    """`administered`: the paths of the topmost units that this page is about, at least one.

    None where a form came too late, see for_unit_savers and for_account_changers.
    """

    rights: Rights
    administered: list[str]


View = Callable[Concatenate[AdminRequest, P], HttpResponseBase]
Ids = Mapping[str, Any]  # what the address of a page names
GuardedView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def for_administrators(view: View[P]) -> GuardedView[P]:
    """Let in who has the privilege *mail settings* somewhere; to others there is no such page."""
    return _guarded(view, lambda rights: rights.paths(Privilege.MAIL_SETTINGS))


def for_unit_savers(view: View[P]) -> GuardedView[P]:
    """As for_administrators; but who has lost the privilege meanwhile gets his form back.

    Who administers nothing at all any more has to prove that it was made for him.
    """

    def is_lost_form(request: HttpRequest, rights: Rights, ids: Ids) -> bool:
        if request.method != "POST" or ids.get("unit_id") is None:
            return False
        return bool(rights.paths()) or seen_unit(request, ids["unit_id"]) is not None

    return _guarded(view, lambda rights: rights.paths(Privilege.MAIL_SETTINGS), is_lost_form)


def for_report_readers(view: View[P]) -> GuardedView[P]:
    """The same with the privilege *reports*."""
    return _guarded(view, lambda rights: rights.paths(Privilege.REPORTS))


def for_account_managers(view: View[P]) -> GuardedView[P]:
    """The same with the privilege *users*."""
    return _guarded(view, lambda rights: rights.paths(Privilege.USERS))


def for_account_changers(view: View[P]) -> GuardedView[P]:
    """As for_account_managers; but who has lost the privilege meanwhile gets his form back.

    Who administers nothing at all any more has to prove that it was made for him.
    """

    def is_lost_form(request: HttpRequest, rights: Rights, ids: Ids) -> bool:
        if request.method != "POST":
            return False
        return bool(rights.paths()) or has_seen(request, ids.get("account_id"))

    return _guarded(view, lambda rights: rights.paths(Privilege.USERS), is_lost_form)


def for_account_readers(view: View[P]) -> GuardedView[P]:
    """Let in who has *mail settings* or *users* somewhere; each sees his own part of a page."""
    return _guarded(view, lambda rights: rights.paths(Privilege.MAIL_SETTINGS, Privilege.USERS))


def for_any_administrator(view: View[P]) -> GuardedView[P]:
    """Let in who has any privilege anywhere."""
    return _guarded(view, lambda rights: rights.paths())


def for_super_administrators(view: View[P]) -> GuardedView[P]:
    return _guarded(view, lambda rights: rights.paths() if rights.is_super else [])


def for_unit_changers(view: View[P]) -> GuardedView[P]:
    """As for_super_administrators; but who has lost the role meanwhile gets his form back."""

    def is_lost_form(request: HttpRequest, _rights: Rights, ids: Ids) -> bool:
        return (
            request.method == "POST"
            and ids.get("unit_id") is not None
            and seen_unit(request, ids["unit_id"]) is not None
        )

    return _guarded(view, lambda rights: rights.paths() if rights.is_super else [], is_lost_form)


def _guarded(
    view: View[P],
    administered: Callable[[Rights], list[str]],
    admits: Callable[[HttpRequest, Rights, Ids], bool] = lambda *_of_form: False,
) -> GuardedView[P]:
    @signed_in
    @wraps(view)
    def guarded(request: SignedInRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        admin_request = cast("AdminRequest", request)
        admin_request.rights = rights_of(request.user)
        admin_request.administered = administered(admin_request.rights)
        if not admin_request.administered and not admits(request, admin_request.rights, kwargs):
            raise Http404
        if led := lead_to_second_factor(request):
            return led
        return view(admin_request, *args, **kwargs)

    return guarded


def read_rights_again(request: AdminRequest) -> None:
    """After units were moved: what is administered is known by paths."""
    request.rights = rights_of(request.user)
    request.administered = request.rights.paths(Privilege.MAIL_SETTINGS)


def administered_units(request: AdminRequest) -> QuerySet[OrgUnit]:
    """Every unit that this page may open, parents before children."""
    return units_below(request.administered)


def units_below(paths: Iterable[str]) -> QuerySet[OrgUnit]:
    """The units at these paths and below, parents before children; none without paths."""
    below = Q(pk=None)
    for path in paths:
        below |= Q(path__startswith=path)
    units: QuerySet[OrgUnit] = OrgUnit.objects.filter(below).order_by("path")
    return units


def administered_unit(request: AdminRequest, unit_id: int | None = None) -> OrgUnit:
    """One unit; without an id, the topmost one."""
    if unit_id is None:
        return administered_units(request)[0]
    return get_object_or_404(administered_units(request), pk=unit_id)


def administered_accounts(request: AdminRequest) -> QuerySet[User]:
    """Every account of those units, its unit joined, in the order of the addresses."""
    below = Q(pk=None)
    for path in request.administered:
        below |= Q(unit__path__startswith=path)
    return User.objects.filter(below).select_related("unit").order_by("primary_address")


def administered_account(request: AdminRequest, account_id: UUID) -> User:
    return get_object_or_404(administered_accounts(request), pk=account_id)


def administered_delivery(request: AdminRequest, delivery_id: UUID) -> Delivery:
    """A message of one of those accounts; super administrators also see those of gone ones."""
    below = Q(account=None) if request.rights.is_super else Q(pk=None)
    for path in request.administered:
        below |= Q(account__unit__path__startswith=path)
    messages = Delivery.objects.filter(below).select_related("account")
    return get_object_or_404(messages, pk=delivery_id)


def administered_changes(request: AdminRequest) -> QuerySet[PolicyChange]:
    """The changes where one has *mail settings*; super administrators also see gone units'."""
    if request.rights.is_super:
        return PolicyChange.objects.all()
    units = units_below(request.rights.paths(Privilege.MAIL_SETTINGS))
    return PolicyChange.objects.filter(unit_id__in=units.values("pk"))


def administered_change(request: AdminRequest, change_id: int) -> PolicyChange:
    return get_object_or_404(administered_changes(request), pk=change_id)


def running_changes(request: AdminRequest) -> QuerySet[PolicyChange]:
    """Those of them that still have a wave to come."""
    open_waves = RolloutWave.objects.open()
    return administered_changes(request).filter(pk__in=open_waves.values("change_id"))


def role_assignment(_request: AdminRequest, assignment_id: int) -> RoleAssignment:
    """Anybody's role: for the pages of super administrators."""
    roles = RoleAssignment.objects.select_related("user", "unit")
    return get_object_or_404(roles, pk=assignment_id)
