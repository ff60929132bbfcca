"""The only way to units and changes: who doesn't administer them gets 404."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from accounts.access import signed_in
from accounts.models import OrgUnit, User
from accounts.requests import SignedInRequest
from accounts.services.people import administered_paths
from policies.models import PolicyChange, RolloutWave

P = ParamSpec("P")


class AdminRequest(SignedInRequest):
    """`administered`: the paths of the topmost units that the account administers, at least one."""

    administered: list[str]


def for_administrators(
    view: Callable[Concatenate[AdminRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let administrators in; to everybody else who is signed in there is no such page."""

    @signed_in
    @wraps(view)
    def guarded(request: SignedInRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        admin_request = cast("AdminRequest", request)
        admin_request.administered = administered_paths(request.user)
        if not admin_request.administered:
            raise Http404
        return view(admin_request, *args, **kwargs)

    return guarded


def administered_units(request: AdminRequest) -> QuerySet[OrgUnit]:
    """Every unit that the administrator may open, parents before children."""
    below = Q()
    for path in request.administered:
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
    below = Q()
    for path in request.administered:
        below |= Q(unit__path__startswith=path)
    return User.objects.filter(below).select_related("unit").order_by("primary_address")


def administered_account(request: AdminRequest, account_id: UUID) -> User:
    return get_object_or_404(administered_accounts(request), pk=account_id)


def administered_changes(request: AdminRequest) -> QuerySet[PolicyChange]:
    """The changes of those units, newest first; super administrators also see gone units'."""
    if request.user.is_super_admin:
        return PolicyChange.objects.all()
    return PolicyChange.objects.filter(unit_id__in=administered_units(request).values("pk"))


def administered_change(request: AdminRequest, change_id: int) -> PolicyChange:
    return get_object_or_404(administered_changes(request), pk=change_id)


def running_changes(request: AdminRequest) -> QuerySet[PolicyChange]:
    """Those of them that still have a wave to come."""
    open_waves = RolloutWave.objects.open()
    return administered_changes(request).filter(pk__in=open_waves.values("change_id"))
