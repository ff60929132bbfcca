"""What such a value would change: in words, as the first rows of a list, and as CSV."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, cast

from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from console.csv_file import csv_answer, csv_lines
from console.reached import Value
from console.setting_impact import Forbidden, SettingImpact, accounts_of
from policies.models import Setting

LISTED = 50
HEADING = ("what_changes", "address", "account", "name", "server", "guardrail")


class Line(NamedTuple):
    number: int
    text: str


def lines_of(impact: SettingImpact) -> list[Line]:
    """Whom it concerns, then what of theirs; without lines of nothing, but for the first."""
    accounts, more = impact.accounts, []
    if impact.setting == Setting.GATEWAY_GUARDRAILS:
        more = [
            Line(impact.forbidden, _forbidden(impact.forbidden)),
            Line(impact.allowed_again, _allowed_again(impact.allowed_again)),
        ]
    elif impact.setting == Setting.GATEWAY_FAILURE:
        more = [
            Line(impact.with_server, _with_server(impact.with_server)),
            Line(impact.with_stopped_server, _stopped(impact.with_stopped_server)),
        ]
    waiting = Line(impact.messages, _waiting(impact.messages))
    return [
        Line(accounts, _accounts(accounts)),
        *(line for line in [*more, waiting] if line.number),
    ]


def shown_setting_impact(impact: SettingImpact) -> dict[str, Any]:
    """What templates/console/parts/setting_impact.html takes."""
    lists = []
    if impact.setting == Setting.GATEWAY_GUARDRAILS:
        lists = [
            (_("Not allowed any more"), _first(impact, again=False)),
            (_("Allowed again"), _first(impact, again=True)),
        ]
    return {
        "impact": impact,
        "impact_lines": lines_of(impact),
        "impact_lists": [(title, rows) for title, rows in lists if rows],
        "impact_listed": LISTED,
        "impact_value": signing.dumps(impact.value, salt=_salt(impact.setting), compress=True),
        "is_of_guardrails": impact.setting == Setting.GATEWAY_GUARDRAILS,
    }


def shown_value(setting: str, signed: str) -> Value | None:
    """The value that a page has counted, out of `impact_value`: the form need not come again."""
    try:
        return cast("Value | None", signing.loads(signed, salt=_salt(setting)))
    except signing.BadSignature as error:
        raise SuspiciousOperation("No value that was shown here") from error


def setting_impact_file(impact: SettingImpact) -> StreamingHttpResponse:
    """Every account, and for guardrails every address whose server is told about."""
    return csv_answer(csv_lines(HEADING, _file_rows(impact)), "outgate-what-changes.csv")


def _salt(setting: str) -> str:
    return f"what-changes:{setting}"


def _first(impact: SettingImpact, *, again: bool) -> list[Forbidden]:
    return list(islice(impact.listed(again=again), LISTED))


def _file_rows(impact: SettingImpact) -> Iterator[tuple[str, ...]]:
    if impact.setting == Setting.GATEWAY_GUARDRAILS:
        for again, text in ((False, _("Not allowed any more")), (True, _("Allowed again"))):
            for send_as, guardrail in impact.listed(again=again):
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


def _with_server(count: int) -> str:
    return ngettext(
        "address of theirs has its own server", "addresses of theirs have their own servers", count
    )


def _stopped(count: int) -> str:
    return ngettext(
        "of these has no password that works: its mail goes the new way at once",
        "of these have no password that works: their mail goes the new way at once",
        count,
    )


def _waiting(count: int) -> str:
    return ngettext(
        "message of theirs waits in the outbox; it is routed again before it leaves",
        "messages of theirs wait in the outbox; each is routed again before it leaves",
        count,
    )
