"""The other settings that have reached an account: guardrails, and where its mail goes."""

from collections.abc import Mapping
from typing import NamedTuple

from django.utils.functional import Promise

from accounts.models import User
from delivery.explain import RouteWords
from delivery.routing import Rule as Decision
from policies.guardrails import Guardrail
from policies.models import Setting
from policies.services import applied_guardrails, applied_value
from policies.words import guardrail_in_words, value_in_words

BY_GUARDRAILS = {
    Decision.GATEWAY_FORBIDDEN,
    Decision.GATEWAY_WAITS,
    Decision.GATEWAY_UNAPPROVED,
}


class Rule(NamedTuple):
    """`unit` decided it: "" where none on the way up has a value here."""

    label: str | Promise
    text: str
    unit: str
    version: int


def rules_of(user: User) -> list[Rule]:
    """Three queries."""
    guardrails = applied_guardrails(user.unit.path, user.cohort)
    value = guardrails.as_value()
    rules = [
        Rule(each.label, guardrail_in_words(each, value[each]), *guardrails.decider(each))
        for each in Guardrail
    ]
    for setting in (Setting.GATEWAY_FAILURE, Setting.OUTBOUND_GATEWAY):
        applied = applied_value(user.unit.path, user.cohort, setting)
        unit = applied.unit.name if applied.unit else ""
        text = value_in_words(setting, applied.value)
        rules.append(Rule(setting.label, text, unit, applied.version))
    return rules


class Unused(NamedTuple):
    """Addresses whose own server guardrails don't let be used; whether those are all there are."""

    reasons: list[tuple[str, str]]
    is_all: bool


def unused_of(routes: Mapping[str, RouteWords]) -> Unused:
    """`routes`: the account's, with own servers on."""
    reasons = [
        (address, words.reason) for address, words in routes.items() if words.rule in BY_GUARDRAILS
    ]
    is_used = any(
        words.host or words.rule == Decision.OUR_SERVERS_INSTEAD for words in routes.values()
    )
    return Unused(reasons, is_all=not is_used)
