"""Who has which role where: the pages of super administrators."""

from http import HTTPStatus
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, RoleAssignment, User
from accounts.models.directory import join_names, lineage
from accounts.requests import actor_of
from accounts.services.roles import assign_role, change_privileges, remove_role
from console.access import AdminRequest
from console.role_forms import PrivilegesForm, RoleForm

ROLES_PER_PAGE = 50


class RoleRow(NamedTuple):
    assignment: RoleAssignment
    unit_path: str


def administrators_page(request: AdminRequest) -> HttpResponse:
    if request.method == "POST":
        return _give(request)
    return _list(request, RoleForm(initial={"unit": _unit_named(request)}))


def _unit_named(request: AdminRequest) -> str:
    """The unit that a link of its own page names, as one would type it."""
    number = request.GET.get("unit", "")
    unit = OrgUnit.objects.filter(pk=number).first() if number.isdecimal() else None
    return _paths_of([unit])[unit.path] if unit else ""


def _give(request: AdminRequest) -> HttpResponse:
    form = RoleForm(request.POST)
    if form.is_valid():
        try:
            assignment = assign_role(actor=actor_of(request), **form.chosen())
        except ValidationError as refusal:
            form.add_error(None, refusal.messages)
        else:
            told = _("%(person)s has the role now: %(role)s.")
            messages.success(request, told % {"person": assignment.user.name, "role": assignment})
            return redirect("console:administrators")
    return _list(request, form)


def _list(request: AdminRequest, form: RoleForm) -> HttpResponse:
    search = request.GET.get("q", "").strip()
    page = Paginator(_found(search), ROLES_PER_PAGE).get_page(request.GET.get("page"))
    paths = _paths_of([each.unit for each in page if each.unit])
    context = {
        "form": form,
        "page": page,
        "search": search,
        "rows": [RoleRow(each, paths[each.unit.path] if each.unit else "") for each in page],
    }
    return render(request, "console/administrators.html", context)


def _found(search: str) -> QuerySet[RoleAssignment]:
    rows = RoleAssignment.objects.select_related("user", "unit")
    if search:
        rows = rows.filter(
            Q(user__name__icontains=search)
            | Q(user__primary_address__icontains=search)
            | Q(unit__name__icontains=search)
        )
    return rows.order_by("user__name", "user__primary_address", "role", "unit__path")


def own_roles(user: User) -> list[RoleRow]:
    """What an administrator may do where, for the first page of who has no mail settings."""
    roles = list(user.roles.select_related("unit").exclude(unit=None).order_by("unit__path"))
    paths = _paths_of([each.unit for each in roles if each.unit])
    return [RoleRow(each, paths[each.unit.path]) for each in roles if each.unit]


def _paths_of(units: list[OrgUnit]) -> dict[str, str]:
    """Each unit with its ancestors, in words, by its path: one query."""
    wanted = {path for unit in units for path in unit.lineage}
    names = {unit.path: unit for unit in OrgUnit.objects.filter(path__in=wanted)}
    return {
        unit.path: join_names(names[path] for path in reversed(lineage(unit.path)))
        for unit in units
    }


def role_page(request: AdminRequest, assignment: RoleAssignment) -> HttpResponse:
    """Change what an administrator of a unit may do, or take a role; `?remove` asks first."""
    if request.method != "POST":
        return _show(request, assignment, PrivilegesForm(assignment))
    if "remove" in request.POST:
        return _remove(request, assignment)
    form = PrivilegesForm(assignment, request.POST)
    if not form.is_valid():
        return _show(request, assignment, form)
    try:
        change_privileges(
            actor=actor_of(request),
            assignment=assignment,
            privileges=form.cleaned_data["privileges"],
        )
    except ValidationError as refusal:
        form.add_error(None, refusal.messages)
        return _show(request, assignment, form)
    messages.success(request, _("Saved. It holds from the next click on."))
    return redirect("console:administrators")


def _remove(request: AdminRequest, assignment: RoleAssignment) -> HttpResponse:
    try:
        remove_role(actor=actor_of(request), assignment=assignment)
    except ValidationError as refusal:
        return _show(request, assignment, PrivilegesForm(assignment), refusal=refusal.messages[0])
    told = _("%(person)s no longer has the role: %(role)s.")
    messages.success(request, told % {"person": assignment.user.name, "role": assignment})
    # Whoever took the role from himself has no such page any more.
    own = assignment.user_id == request.user.pk
    return redirect("home" if own else "console:administrators")


def _show(
    request: AdminRequest, assignment: RoleAssignment, form: PrivilegesForm, refusal: str = ""
) -> HttpResponse:
    context: dict[str, Any] = {
        "assignment": assignment,
        "unit_path": _paths_of([assignment.unit])[assignment.unit.path] if assignment.unit else "",
        "form": form,
        "refusal": refusal,
        "asks": "remove" in request.GET,
        "path": [
            (_("Administrators"), reverse("console:administrators")),
            (assignment.user.name, ""),
        ],
    }
    status = HTTPStatus.CONFLICT if refusal else HTTPStatus.OK
    return render(request, "console/role.html", context, status=status)
