"""A form that can't be saved any more, as it was typed: its unit is gone, or the right to it."""

from typing import Any, cast

from django import forms
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.services.rights import rights_of
from console.access import AdminRequest
from console.save_notices import Notice, gone, gone_or_not_permitted, not_permitted
from console.seen_unit import seen_unit


def notice_of_lost(request: AdminRequest, unit_id: int) -> Notice:
    """Only who has seen the unit is told which of the two it is, and its name as he saw it."""
    seen = seen_unit(request, unit_id)
    if seen is None:
        return gone_or_not_permitted()
    if OrgUnit.objects.filter(pk=unit_id).exists():
        return not_permitted(seen.name)
    return gone(seen.name)


def unknown_unit() -> OrgUnit:
    """To make the form for, so that nothing of a real one stands in it; not the topmost one."""
    return OrgUnit(pk=0, path="", depth=2)


def kept_form(
    request: AdminRequest,
    form: object,
    notice: Notice,
    title: str | Promise,
    kept: str | Promise,
    path: list[tuple[str | Promise, str]] | None = None,
) -> HttpResponse:
    """`form` is unbound, for an `unknown_unit`: nothing stands in it but what was posted.

    `path` leads to the page, without itself; else it is one of the mail settings.
    """
    if request.htmx or request.POST.get("see") == "file":
        raise Http404  # there a part is asked for, and nothing would be saved
    request.rights = rights_of(request.user)
    context = {
        "form": _as_typed(cast("forms.Form", form), request.POST),
        "notice": notice,
        "page_title": title,
        "kept_text": kept,
        "path": [*(path or [(_("Apps"), ""), (_("Suite"), ""), (_("Mail"), "")]), (title, "")],
    }
    return render(request, "console/kept_form.html", context, status=notice.status)


def _as_typed(form: forms.Form, data: QueryDict) -> forms.Form:
    for name, field in list(form.fields.items()):
        is_omitted = field.widget.value_omitted_from_data(data, {}, name)
        if is_omitted or isinstance(field.widget, forms.PasswordInput):
            del form.fields[name]
            continue
        form.initial[name] = field.widget.value_from_datadict(data, {}, name)
        if isinstance(field, forms.ChoiceField):
            _offer(field, data.getlist(name))
        field.widget.attrs |= _not_to_be_changed(field.widget)
    return form


def _offer(field: forms.ChoiceField, typed: list[str]) -> None:
    """Some choices were offered for the sake of the unit."""
    offered = cast("list[tuple[Any, Any]]", field.choices)
    known = {str(value) for value, _label in offered}
    field.choices = [*offered, *((value, value) for value in typed if value not in known)]


def _not_to_be_changed(widget: forms.Widget) -> dict[str, bool]:
    """What is read-only can be copied; choices know no such state."""
    is_text = isinstance(widget, (forms.TextInput, forms.NumberInput, forms.Textarea))
    return {"readonly" if is_text else "disabled": True}
