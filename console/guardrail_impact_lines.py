"""What guardrails would change: in words, as the first rows of a list, and as CSV."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from console.csv_file import csv_answer, csv_lines
from console.guardrail_impact import Forbidden, GuardrailImpact, accounts_of
from console.signed_value import signed_value
from policies.models import Setting
from policies.services import inherited_guardrails
from policies.words import loosened_in_words

LISTED = 50
HEADING = ("what_changes", "address", "account", "name", "server", "guardrail")


class Line(NamedTuple):
    number: int
    text: str


def lines_of(impact: GuardrailImpact) -> list[Line]:
    """Whom it concerns, then what of theirs; without lines of nothing, but for the first."""
    more = [*servers_of(impact), Line(impact.messages, _waiting(impact.messages))]
    accounts = Line(impact.accounts, _accounts(impact.accounts))
    return [accounts, *(line for line in more if line.number)]


def servers_of(impact: GuardrailImpact) -> list[Line]:
    """The addresses alone."""
    lines = [
        Line(impact.forbidden, _forbidden(impact.forbidden)),
        Line(impact.allowed_again, _allowed_again(impact.allowed_again)),
    ]
    return [line for line in lines if line.number]


def shown_guardrail_impact(impact: GuardrailImpact) -> dict[str, Any]:
    """What templates/console/parts/guardrail_impact.html takes."""
    lists = [
        (_("Not allowed any more"), _first(impact, again=False)),
        (_("Allowed again"), _first(impact, again=True)),
    ]
    return {
        "impact": impact,
        "impact_part": "console/parts/guardrail_impact.html",
        "impact_loosened": _loosened(impact),
        "impact_lines": lines_of(impact),
        "impact_lists": [(title, rows) for title, rows in lists if rows],
        "impact_listed": LISTED,
        "impact_value": signed_value(Setting.GATEWAY_GUARDRAILS, impact.value),
    }


def _loosened(impact: GuardrailImpact) -> list[str]:
    """By the guardrails that are saved above: one query."""
    told = loosened_in_words(impact.value or {}, inherited_guardrails(impact.unit))
    return [f"{guardrail.label}: {text}" for guardrail, text in told.items()]


def guardrail_impact_file(impact: GuardrailImpact) -> StreamingHttpResponse:
    """Every account, and every address whose server is told about."""
    return csv_answer(csv_lines(HEADING, _file_rows(impact)), "outgate-what-changes.csv")


def _first(impact: GuardrailImpact, *, again: bool) -> list[Forbidden]:
    return list(impact.told(impact.addresses(again=again)[:LISTED]))


def _file_rows(impact: GuardrailImpact) -> Iterator[tuple[str, ...]]:
    for again, text in ((False, _("Not allowed any more")), (True, _("Allowed again"))):
        addresses = impact.addresses(again=again).iterator(chunk_size=1000)
        for send_as, guardrail in impact.told(addresses):
            user, msa = send_as.user, send_as.smtp_msa
            server = f"{msa.host}:{msa.port} {msa.security_mode}"
            label = str(guardrail.label) if guardrail else ""
            address = send_as.send_as_email
            yield text, address, user.primary_address, user.name, server, label
    for user in accounts_of(impact).iterator(chunk_size=1000):
        yield _("Value changes"), "", user.primary_address, user.name, "", ""


def _accounts(count: int) -> str:
    return ngettext("account then has another value", "accounts then have another value", count)


def _forbidden(count: int) -> str:
    return ngettext(
        "address has an own server that is then not allowed any more: where own servers are on, "
        "its mail leaves by our servers",
        "addresses have own servers that are then not allowed any more: where own servers are on, "
        "their mail leaves by our servers",
        count,
    )


def _allowed_again(count: int) -> str:
    return ngettext(
        "address has an own server that is then allowed again",
        "addresses have own servers that are then allowed again",
        count,
    )


def _waiting(count: int) -> str:
    return ngettext(
        "message of theirs waits in the outbox; it is routed again before it leaves",
        "messages of theirs wait in the outbox; each is routed again before it leaves",
        count,
    )
