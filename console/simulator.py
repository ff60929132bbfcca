"""Why a message would go, or went, the way it does: the decision, and what is written."""

from dataclasses import replace
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from accounts.models import User
from accounts.templatetags.clock import clock_time
from console.simulated_time import When
from delivery.explain import RouteWords, attempt_words, route_words
from delivery.headers import complete_header, write_header
from delivery.ladder import Rung, ladder
from delivery.models import Delivery
from delivery.policy_trail import PolicyTrail, policy_trail
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Refusal,
    Route,
    Rule,
    decide,
)
from delivery.services import load_account, load_settings, settings_of
from sendas.models import SendAs, SmtpMsa
from smtp.header import HeaderBlock

# What a mail program of today speaks with us.
SAMPLE = {"protocol": "ESMTPSA", "tls": "TLSv1.3"}
RECIPIENT = "claire@customer.example"


class Written(NamedTuple):
    """The envelope sender and the header fields of one route; `primary` is marked in them."""

    words: RouteWords
    caption: str
    envelope_sender: str
    fields: list[tuple[str, str]]
    primary: str


class Decision(NamedTuple):
    """`reply`: what the mail program hears, or heard, where that was not a plain yes."""

    words: RouteWords
    rungs: list[Rung]
    trail: PolicyTrail | None
    written: list[Written]
    reply: str


def simulate(user: User, address: str, when: When | None = None) -> Decision:
    """What the decision says of a message of the account from that address: now, or `when`.

    What is written comes from the functions that write it in a real message, out of a small sample.
    """
    account = load_account(user)
    if when:
        account = replace(account, cohort=when.moment.cohort)
    settings = settings_of(when.moment) if when else load_settings(user)
    answer = decide(account, address, settings)
    explanation = answer.explanation.as_json()
    # A guardrail's explanation names the unit that set that.
    policy = explanation | {"deciding_unit": settings.deciding_unit, "version": settings.version}
    other, caption = _other(account, address, settings, answer)
    written = [(answer, _("at that time") if when else _("now"))]
    if _differ(answer, other):
        written.append((other, caption))
    return Decision(
        words=route_words(account, address, answer),
        rungs=ladder(explanation, _details(user, address, answer)),
        trail=when.trail(policy) if when else policy_trail(policy),
        written=[
            _written(user, address, route, route_words(account, address, route), caption)
            for route, caption in written
            if isinstance(route, Route)
        ],
        reply=answer.reply.text if isinstance(answer, Refusal) else "",
    )


def _other(
    account: AccountSnapshot, address: str, settings: AppliedSettings, answer: Route | Refusal
) -> tuple[Route | Refusal, str]:
    """What stands beside the answer: where its server fails, or with the policy the other way."""
    if isinstance(answer, Route) and answer.instead:
        return answer.instead, _("if that server does not work")
    turned = replace(settings, gateways_allowed=not settings.gateways_allowed)
    caption = _("with own servers on") if turned.gateways_allowed else _("with own servers off")
    return decide(account, address, turned), caption


def _differ(answer: Route | Refusal, other: Route | Refusal) -> bool:
    """Whether they send the message another way: why is no difference."""
    return replace(other, explanation=answer.explanation) != answer


def _written(user: User, address: str, route: Route, words: RouteWords, caption: str) -> Written:
    sample = f"From: {address}\r\nTo: {RECIPIENT}\r\nSubject: Sample\r\n\r\n".encode()
    header = complete_header(HeaderBlock.parse(sample), address)
    header = write_header(header, route, trace="sample", **SAMPLE)
    fields = [raw.decode().rstrip("\r\n").partition(": ") for _name, raw in header.fields]
    return Written(
        words,
        caption,
        route.envelope_sender,
        [(name, value) for name, _colon, value in fields],
        "" if address == user.primary_address else user.primary_address,
    )


def _details(user: User, address: str, answer: Route | Refusal) -> dict[Rule, str]:
    """What is known of the address itself, for the rungs that ask for it."""
    row = SendAs.objects.filter(user=user, send_as_email=address).select_related("smtp_msa").first()
    if row is None:
        return {}
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    since = row.verified_at or row.created_at
    words = _("Proved at %(time)s.") if row.verified_at else _("Added at %(time)s.")
    details = {Rule.UNVERIFIED: words % {"time": clock_time(since)}}
    if msa:
        server = {"host": msa.host, "port": msa.port}
        details[Rule.NO_GATEWAY] = _("It has %(host)s, port %(port)d.") % server
        details[Rule.GATEWAY] = _on_failure(answer)
    if msa and (failed := msa.refused_at or msa.wiped_at):
        words = _("Deleted at %(time)s.") if msa.wiped_at else _("Refused at %(time)s.")
        for rule in (Rule.OUR_SERVERS_INSTEAD, Rule.GATEWAY_WIPED, Rule.GATEWAY_BROKEN):
            details[rule] = words % {"time": clock_time(failed)}
    return details


def _on_failure(answer: Route | Refusal) -> str:
    """What the unit chose for the time when the server does not work."""
    if isinstance(answer, Route) and answer.instead:
        return _("Should that server not work, our servers carry the message.")
    if answer.may_wait:
        return _("Should that server not work, the message waits for it.")
    return _("Should that server not work, the message is refused.")


def explain_delivery(delivery: Delivery) -> Decision:
    """What the log keeps of a message that was handed in, and what history adds to it."""
    stored: dict[str, Any] = delivery.explanation
    words = attempt_words(delivery)
    return Decision(
        words=words,
        rungs=ladder(stored),
        trail=policy_trail(stored, before=delivery.created_at) if ladder(stored) else None,
        written=[_as_written(delivery, words)] if delivery.route else [],
        reply=delivery.reply,
    )


def _as_written(delivery: Delivery, words: RouteWords) -> Written:
    fields = [("From", delivery.from_address)]
    if delivery.sender:
        fields.append(("Sender", delivery.sender))
    if delivery.message_id:
        fields.append(("Message-ID", delivery.message_id))
    primary = delivery.account_address
    return Written(
        words,
        _("as sent") if delivery.state == Delivery.State.DELIVERED else _("as handed over"),
        delivery.envelope_sender,
        fields,
        "" if delivery.from_address == primary else primary,
    )
