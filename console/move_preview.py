"""What holds before a move and after it: for one account, and for all of a unit."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from typing import NamedTuple

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, User
from accounts.models.people import EXPRESS_COHORT, cohort_count
from accounts.templatetags.clock import clock_time
from console.reached import Value, accounts_below
from policies.guardrails import Guardrail, merge
from policies.models import DEFAULTS, AppliedPolicy, Setting
from policies.rules import Rule, rules_of
from policies.services import forecasts
from policies.words import guardrail_in_words, value_in_words

# More lines nobody reads before a move.
MOST_TURNS = 40

Own = dict[str, dict[int, Value]]


class Turn(NamedTuple):
    """A setting, or one guardrail, that the move changes.

    `now_next` and `then_next` say what is on its way there. `note`: what it does to mail.
    """

    label: str | Promise
    now: str
    then: str
    now_next: str = ""
    then_next: str = ""
    note: str = ""
    accounts: int = 1


class AccountMove(NamedTuple):
    turns: list[Turn]
    same: int


class UnitMove(NamedTuple):
    """`accounts` are in the unit and below, `changed` those for which any setting changes.

    `more` is how many further turns there are.
    """

    turns: list[Turn]
    more: int
    units: int
    accounts: int
    changed: int


def account_move(user: User, unit: OrgUnit) -> AccountMove:
    """By what has reached the account's cohort, here and there. Twelve queries."""
    moved = copy(user)
    moved.unit = unit
    pairs = list(zip(rules_of(forecasts(user)), rules_of(forecasts(moved)), strict=True))
    turns = [
        Turn(
            now.label,
            now.text,
            then.text,
            _next(now),
            _next(then),
            _note(now.setting, now.text, then.text),
        )
        for now, then in pairs
        if (now.text, _next(now)) != (then.text, _next(then))
    ]
    return AccountMove(turns, len(pairs) - len(turns))


def _next(rule: Rule) -> str:
    if rule.turn is None:
        return ""
    if rule.turn.at is None:
        return _("%(value)s once a paused change is resumed") % {"value": rule.then}
    by = {"value": rule.then, "time": clock_time(rule.turn.at)}
    return _("%(value)s by %(time)s") % by


def _note(setting: str, now: str, then: str) -> str:
    if setting != Setting.PER_USER_OUTBOUND_GATEWAY or now == then:
        return ""
    if then == value_in_words(setting, {"allowed": True}):
        return _("Addresses that have an own server send through it from then on.")
    return _(
        "Mail from addresses that have an own server leaves by our servers from then on, on behalf "
        "of the primary address."
    )


def unit_move(unit: OrgUnit, parent: OrgUnit) -> UnitMove:
    """By what has reached each account's cohort, here and there. Four queries."""
    rows = AppliedPolicy.objects.filter(
        Q(unit__path__startswith=unit.path)
        | Q(unit__path__in=[*unit.lineage[1:], *parent.lineage]),
        value__isnull=False,
    ).values_list("setting", "unit__path", "cohort", "value")
    own: dict[str, Own] = {setting: {} for setting in Setting.values}
    values = _Values()
    for setting, path, cohort, value in rows.iterator(chunk_size=10_000):
        own[setting].setdefault(path, {})[cohort] = values.one(value or {})
    default = {
        setting: dict.fromkeys(
            range(EXPRESS_COHORT, cohort_count() + 1), values.one(DEFAULTS[setting])
        )
        for setting in _in_order()
    }
    sides = [
        (
            setting,
            _Held(values, own[setting], default[setting], unit.lineage[1:], unit),
            _Held(values, own[setting], default[setting], parent.lineage, unit),
        )
        for setting in _in_order()
    ]
    words = _Words()
    found: Counter[tuple[str, str, str, str]] = Counter()
    accounts: Counter[bool] = Counter()
    for _unit_id, path, cohort, count in accounts_below(unit):
        turned = [
            turn
            for setting, now, then in sides
            for turn in words.turns(setting, now.at(path)[cohort], then.at(path)[cohort])
        ]
        accounts[bool(turned)] += count
        for turn in turned:
            found[turn] += count
    turns = [
        Turn(label, now, then, note=_note(setting, now, then), accounts=count)
        for (setting, label, now, then), count in _by_setting(found)
    ]
    return UnitMove(
        turns=turns[:MOST_TURNS],
        more=max(len(turns) - MOST_TURNS, 0),
        units=OrgUnit.objects.filter(path__startswith=unit.path).count() - 1,
        accounts=accounts.total(),
        changed=accounts[True],
    )


def _in_order() -> list[Setting]:
    """As the page of an account has them."""
    return [
        Setting.PER_USER_OUTBOUND_GATEWAY,
        Setting.GATEWAY_GUARDRAILS,
        Setting.GATEWAY_FAILURE,
        Setting.OUTBOUND_GATEWAY,
    ]


def _by_setting(
    found: Mapping[tuple[str, str, str, str], int],
) -> list[tuple[tuple[str, str, str, str], int]]:
    labels = {str(each.label): place for place, each in enumerate(Guardrail)}
    settings = {str(each): place for place, each in enumerate(_in_order())}
    return sorted(
        found.items(),
        key=lambda each: (settings[each[0][0]], labels.get(each[0][1], 0), -each[1], each[0]),
    )


class _Values:
    """Equal values as one object, for most accounts share few: what is asked of two is kept."""

    def __init__(self) -> None:
        self._known: dict[str, Value] = {}
        self._merged: dict[tuple[int, int], Value] = {}

    def one(self, value: Value) -> Value:
        return self._known.setdefault(json.dumps(value, sort_keys=True), value)

    def merge(self, above: Value, own: Value) -> Value:
        """By key, as guardrails are merged; all other values have one key."""
        pair = id(above), id(own)
        if pair not in self._merged:
            self._merged[pair] = self.one(above | own)
        return self._merged[pair]


class _Held:
    """What holds of a setting for each cohort of the units at and below `top`, below `above`."""

    def __init__(
        self,
        values: _Values,
        own: Own,
        default: dict[int, Value],
        above: list[str],
        top: OrgUnit,
    ) -> None:
        self._values = values
        self._own = own
        held = default
        for path in reversed(above):
            held = self._below(held, path)
        self._known = {top.path: self._below(held, top.path)}

    def at(self, path: str) -> dict[int, Value]:
        if path not in self._known:
            self._known[path] = self._below(self.at(path[: -OrgUnit.steplen]), path)
        return self._known[path]

    def _below(self, held: dict[int, Value], path: str) -> dict[int, Value]:
        if path not in self._own:
            return held
        own = self._own[path].items()
        return held | {cohort: self._values.merge(held[cohort], value) for cohort, value in own}


class _Words:
    """Turns in words, each pair of values once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], list[tuple[str, str, str, str]]] = {}

    def turns(self, setting: Setting, now: Value, then: Value) -> list[tuple[str, str, str, str]]:
        """Setting, label, what holds now and then; of values that _Values gave."""
        if now is then:
            return []
        pair = id(now), id(then)
        if pair not in self._known:
            self._known[pair] = [each for each in _told(setting, now, then) if each[2] != each[3]]
        return self._known[pair]


def _told(setting: Setting, now: Value, then: Value) -> Iterator[tuple[str, str, str, str]]:
    if setting != Setting.GATEWAY_GUARDRAILS:
        words = value_in_words(setting, now), value_in_words(setting, then)
        yield setting, str(setting.label), *words
        return
    whole_now, whole_then = (merge([("", 0, value)]).as_value() for value in (now, then))
    for guardrail in Guardrail:
        words = (
            guardrail_in_words(guardrail, whole_now[guardrail]),
            guardrail_in_words(guardrail, whole_then[guardrail]),
        )
        yield setting, str(guardrail.label), *words
