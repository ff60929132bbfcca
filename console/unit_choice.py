"""Choosing the unit that something is moved to: a list to be narrowed by name."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from django.db.models import QuerySet
from django.forms import Form

from accounts.models import OrgUnit
from accounts.models.directory import paths_by_unit
from console.access import AdminRequest
from console.row_number import row_number

MOST_OFFERED = 50


class Offered(NamedTuple):
    unit: OrgUnit
    path: str


def offered_units(
    request: AdminRequest,
    units: QuerySet[OrgUnit],
    form: Form | None = None,
    fields: Sequence[str] = ("reason",),
) -> dict[str, Any]:
    """The context of templates/console/parts/choose_unit.html. Three queries.

    `form` is one whose unit was lost: the links take on what was typed into its `fields`.
    """
    typed = {name: text for name in fields if (text := typed_text(request, form, name))}
    search = request.GET.get("q", "").strip()
    found = units.filter(name__icontains=search) if search else units
    shown = list(found[:MOST_OFFERED])
    paths = paths_by_unit(shown)
    return {
        "search": search,
        "typed": typed,
        "typed_query": urlencode(typed, quote_via=quote),
        "offered": [Offered(unit, paths[unit.pk]) for unit in shown],
        "more_units": max(found.count() - MOST_OFFERED, 0),
    }


def typed_text(request: AdminRequest, form: Form | None, name: str) -> str:
    """What was typed into that field, here or before the unit was chosen."""
    return str((form[name].value() if form else request.GET.get(name)) or "")


def chosen_unit(request: AdminRequest, units: QuerySet[OrgUnit]) -> OrgUnit | None:
    """The one that the address names."""
    number = row_number(request.GET.get("to", ""))
    return None if number is None else units.filter(pk=number).first()
