"""Accounts: finding one, and why its gateways are as they are."""

from http import HTTPStatus
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege, User
from accounts.models.directory import path_names
from accounts.models.people import EXPRESS_COHORT, cohort_count
from accounts.requests import actor_of
from accounts.services.people import own_addresses
from console.access import (
    AdminRequest,
    administered_account,
    administered_accounts,
    administered_changes,
    administered_units,
)
from console.account_actions import managing
from console.forms import AccountForm
from console.row_number import row_number
from console.unit_setting import GATEWAY
from console.unused_servers import unused_of
from delivery.templatetags.routes import routes_of
from policies.models import AppliedPolicy, GatewayPolicy
from policies.rules import rules_of
from policies.services import (
    Forecast,
    Step,
    apply_now_to_account,
    forecasts,
    forecasts_by_account,
)
from policies.words import Value, turn_in_words, value_in_words
from sendas.services.acceptance import Acceptance, judge_list
from sendas.services.addresses import ListedAddress, list_addresses

ACCOUNTS_PER_PAGE = 50


class ListedAccount(NamedTuple):
    """`forecast` is that of own servers; `waits` whether anything is on its way, of any setting.

    None of an account whose mail settings the administrator doesn't see.
    """

    user: User
    forecast: Forecast | None
    waits: bool


class StepRow(NamedTuple):
    """A step with the value that it sets for its unit, and with what then holds for the account.

    `is_open`: whether the reader may open the change.
    """

    step: Step
    sets: str
    then: str
    is_open: bool


class UnitRow(NamedTuple):
    """A unit on the way up: what is saved for it, and what has reached the account's cohort.

    `is_open`: whether the reader may open the unit; `saved_by` and `applied_by`: the id of the
    change, where it may be opened.
    """

    unit: OrgUnit
    is_open: bool
    saved: str
    saved_version: int | None
    saved_by: int | None
    applied: str
    applied_version: int | None
    applied_by: int | None
    decides: bool


def account_list(request: AdminRequest) -> HttpResponse:
    """By the beginning of the address, at and below a unit; a whole address leads to its page."""
    search = request.GET.get("q", "").strip().lower()
    unit = _unit(request)
    accounts = administered_accounts(request)
    if search and (exact := accounts.filter(primary_address=search).first()):
        return redirect("console:account", exact.pk)
    if unit:
        below = OrgUnit.objects.filter(path__startswith=unit.path)
        accounts = accounts.filter(unit_id__in=below.values("pk"))
    if search:
        accounts = accounts.filter(primary_address__startswith=search)
    if after := request.GET.get("after", ""):
        accounts = accounts.filter(primary_address__gt=after)
    rows = list(accounts[: ACCOUNTS_PER_PAGE + 1])
    shown = rows[:ACCOUNTS_PER_PAGE]
    told = forecasts_by_account([user for user in shown if _reads_mail(request, user)])
    more: dict[str, str | int] = {
        "q": search,
        "unit": unit.pk if unit else "",
        "after": shown[-1].primary_address if shown else "",
    }
    context = {
        "accounts": [
            ListedAccount(user, told[user.pk].of[GATEWAY], bool(told[user.pk].steps))
            if user.pk in told
            else ListedAccount(user, None, waits=False)
            for user in shown
        ],
        "reads_mail": bool(request.rights.paths(Privilege.MAIL_SETTINGS)),
        "manages": bool(request.rights.paths(Privilege.USERS)),
        "manages_unit": unit and request.rights.reach(unit.path, Privilege.USERS),
        "search": search,
        "unit": unit,
        "after": after,
        "first_url": _list_url({"q": search, "unit": unit.pk if unit else ""}),
        "next_url": _list_url(more) if len(rows) > ACCOUNTS_PER_PAGE else "",
    }
    return render(request, "console/accounts.html", context)


def _unit(request: AdminRequest) -> OrgUnit | None:
    number = row_number(request.GET.get("unit", ""))
    return None if number is None else administered_units(request).filter(pk=number).first()


def _list_url(query: dict[str, str | int]) -> str:
    kept = {name: value for name, value in query.items() if value != ""}
    return f"{reverse('console:accounts')}?{urlencode(kept)}"


def _reads_mail(request: AdminRequest, user: User) -> bool:
    return request.rights.reach(user.unit.path, Privilege.MAIL_SETTINGS)


def account_page(request: AdminRequest, user: User) -> HttpResponse:
    """All of it with *mail settings*; with *users* alone what is about the account itself."""
    path = [(_("Accounts"), reverse("console:accounts")), (user.primary_address, "")]
    if not _reads_mail(request, user):
        context = {
            **managing(request, user),
            "account": user,
            "unit_path": path_names(user.unit),
            "addresses": own_addresses(user),
            "path": path,
        }
        return render(request, "console/account_itself.html", context)
    told = forecasts(user)
    own_servers = told.of[GATEWAY]
    routes = routes_of(user)
    context = {
        **_shown(user, told.hurried),
        **managing(request, user),
        "reads_mail": True,
        "told": own_servers,
        "value": value_in_words(GATEWAY, own_servers.value),
        "steps": _in_words(request, told.steps),
        "units": _way_up(request, user, own_servers),
        "routes": routes,
        "unused": unused_of(
            routes if own_servers.allowed else routes_of(user, gateways_allowed=True)
        ),
        "rules": [rule for rule in rules_of(told) if rule.setting != GATEWAY],
        "outside": _outside(user),
        "path": path,
    }
    template = "console/account.html#live" if request.htmx else "console/account.html"
    return render(request, template, context)


def _shown(user: User, hurried: list[Step]) -> dict[str, Any]:
    return {
        "account": user,
        "cohorts": cohort_count(),
        "is_express": user.cohort == EXPRESS_COHORT,
        "can_hurry": bool(hurried) and user.cohort != EXPRESS_COHORT,
    }


def _in_words(request: AdminRequest, steps: list[Step]) -> list[StepRow]:
    shown = administered_changes(request).filter(pk__in=[step.change.pk for step in steps])
    opened = set(shown.values_list("pk", flat=True))
    return [
        StepRow(
            step=step,
            sets=_own(step.change.setting, step.change.new),
            then=turn_in_words(step.change.setting, step.before, step.value),
            is_open=step.change.pk in opened,
        )
        for step in steps
    ]


def _own(setting: str, value: Value | None) -> str:
    return _("Inherit") if value is None else value_in_words(setting, value)


def _way_up(request: AdminRequest, user: User, told: Forecast) -> list[UnitRow]:
    """The account's unit first. Four queries."""
    units = OrgUnit.objects.filter(path__in=user.unit.lineage).order_by("-path")
    of_units = {"setting": GATEWAY, "unit__in": units}
    saved = {row.unit_id: row for row in GatewayPolicy.objects.filter(**of_units)}
    applied = {
        row.unit_id: row for row in AppliedPolicy.objects.filter(**of_units, cohort=user.cohort)
    }
    versions = {row.version for rows in (saved, applied) for row in rows.values()}
    changes = {
        (change.unit_id, change.version): change.pk
        for change in administered_changes(request).filter(
            setting=GATEWAY, unit_id__in=saved, version__in=versions
        )
    }

    def change_of(row: GatewayPolicy | AppliedPolicy | None) -> int | None:
        return changes.get((row.unit_id, row.version)) if row else None

    decider = told.applied.unit_id if told.applied else None
    return [
        UnitRow(
            unit=unit,
            is_open=request.rights.reach(unit.path, Privilege.MAIL_SETTINGS),
            saved=_own(GATEWAY, saved[unit.pk].value) if unit.pk in saved else "",
            saved_version=saved[unit.pk].version if unit.pk in saved else None,
            saved_by=change_of(saved.get(unit.pk)),
            applied=_own(GATEWAY, applied[unit.pk].value) if unit.pk in applied else "",
            applied_version=applied[unit.pk].version if unit.pk in applied else None,
            applied_by=change_of(applied.get(unit.pk)),
            decides=unit.pk == decider,
        )
        for unit in units
    ]


def _outside(user: User) -> list[tuple[ListedAddress, Acceptance]]:
    """Its outside addresses, and whether receivers will probably take their mail."""
    listing = list_addresses(user)
    accepted = judge_list(user, listing)
    return [(listed, accepted[listed.address]) for listed in listing if not listed.is_own]


def account_apply_now_page(request: AdminRequest, user: User) -> HttpResponse:
    """The question, with all that the account takes; a POST asks the service."""
    if request.method != "POST":
        return _ask(request, user, AccountForm(initial={"unit_id": user.unit_id}))
    form = AccountForm(request.POST)
    if not form.is_valid():
        return _ask(request, user, form)
    try:
        apply_now_to_account(actor=actor_of(request), user=user, **form.cleaned_data)
    except ValidationError as refusal:
        data = request.POST.copy()
        user = administered_account(request, user.pk)
        data["unit_id"] = str(user.unit_id)
        return _ask(request, user, AccountForm(data), refusal.messages[0])
    except PermissionDenied:
        why = _("You no longer administer this account. Nothing was done.")
        return _ask(request, user, form, why)
    messages.success(
        request, _("%s has everything that was on its way to it.") % user.primary_address
    )
    return redirect("console:account", user.pk)


def _ask(request: AdminRequest, user: User, form: AccountForm, why: str = "") -> HttpResponse:
    hurried = forecasts(user).hurried
    context = {
        **_shown(user, hurried),
        "steps": _in_words(request, hurried),
        "form": form,
        "why": why,
        "path": [
            (_("Accounts"), reverse("console:accounts")),
            (user.primary_address, reverse("console:account", args=[user.pk])),
            (_("Apply now"), ""),
        ],
    }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/account_now.html", context, status=status)
