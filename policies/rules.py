"""What has reached an account, rule by rule and in words, and what is next on its way to each."""

from collections.abc import Iterator
from typing import NamedTuple

from django.utils.functional import Promise

from policies.guardrails import Guardrail, merge
from policies.models import Setting
from policies.services import Forecast, Forecasts, Step
from policies.words import guardrail_in_words, value_in_words


class Rule(NamedTuple):
    """A setting, or one guardrail. `unit` decided it: "" where none on the way up has a value here.

    `turn` is the first step that changes it, and `then` what it says from that on.
    """

    setting: str
    label: str | Promise
    text: str
    unit: str
    version: int
    turn: Step | None
    then: str


def rules_of(told: Forecasts) -> list[Rule]:
    return [
        _rule(Setting.PER_USER_OUTBOUND_GATEWAY, told),
        *_guardrails(told.of[Setting.GATEWAY_GUARDRAILS]),
        _rule(Setting.GATEWAY_FAILURE, told),
        _rule(Setting.OUTBOUND_GATEWAY, told),
    ]


def _rule(setting: Setting, told: Forecasts) -> Rule:
    now = told.of[setting]
    return Rule(
        setting=setting,
        label=setting.label,
        text=value_in_words(setting, now.value),
        unit=now.applied.unit.name if now.applied else "",
        version=now.applied.version if now.applied else 0,
        turn=now.turn,
        then=value_in_words(setting, now.turn.value) if now.turn else "",
    )


def _guardrails(now: Forecast) -> Iterator[Rule]:
    merged = merge((row.unit.name, row.version, row.value or {}) for row in now.rows)
    for guardrail in Guardrail:
        value = now.value[guardrail]
        turn = next((step for step in now.steps if step.value[guardrail] != value), None)
        unit, version = merged.decider(guardrail)
        yield Rule(
            setting=Setting.GATEWAY_GUARDRAILS,
            label=guardrail.label,
            text=guardrail_in_words(guardrail, value),
            unit=unit,
            version=version,
            turn=turn,
            then=guardrail_in_words(guardrail, turn.value[guardrail]) if turn else "",
        )
