"""Long lists, newest first: which rows of a list to show, and one page of them."""

from typing import Any, TypeVar

from django import forms
from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from console.access import AdminRequest, administered_units, units_below
from console.row_number import row_number
from console.unit_names import unit_called

Row = TypeVar("Row", bound=Model)


class ListFilter(forms.Form):
    """Each field leaves out what does not fit; an empty one leaves out nothing."""

    unit = forms.CharField(label=_("Unit and below"), max_length=1000, required=False)

    def __init__(self, request: AdminRequest) -> None:
        self.request = request
        super().__init__(request.GET)

    def clean_unit(self) -> OrgUnit | None:
        text = self.cleaned_data["unit"].strip()
        return unit_called(text, administered_units(self.request)) if text else None

    def at_and_below_unit(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Those of the unit that was named and of all below it; all where none was."""
        unit = self.cleaned_data["unit"]
        return rows.filter(unit_id__in=units_below([unit.path]).values("pk")) if unit else rows


def page_of(form: ListFilter, rows: QuerySet[Row], size: int) -> tuple[list[Row], dict[str, Any]]:
    """The rows of the page that is asked for, and the context of the form and of the links beside.

    Pages follow each other by the number of their last row: the tenth costs as the first.
    """
    asked = form.request.GET
    before = row_number(asked.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page = list(rows[: size + 1])
    shown, more = page[:size], len(page) > size
    query = asked.copy()
    query.pop("before", None)
    filters = query.urlencode()
    query["before"] = str(shown[-1].pk) if shown else ""
    return shown, {
        "form": form,
        "filters": filters,
        "filtered": any(form.data.get(name) for name in form.fields),
        "older": query.urlencode() if more else "",
        "on_first": "before" not in asked,
    }
