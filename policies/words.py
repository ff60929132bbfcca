"""Values of settings in words, for people who administer them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from policies.guardrails import Guardrail, Guardrails, loosened
from policies.models import GatewayFailure, Setting
from smtp.target import Security

Value = Mapping[str, Any]


def value_in_words(setting: str, value: Value) -> str:
    """All that a value says."""
    return IN_WORDS[setting](value)


def turn_in_words(setting: str, before: Value, after: Value) -> str:
    """What holds from then on; of guardrails only those that change."""
    if setting != Setting.GATEWAY_GUARDRAILS:
        return value_in_words(setting, after)
    changed = {
        guardrail: after[guardrail] for guardrail in after if after[guardrail] != before[guardrail]
    }
    return value_in_words(setting, changed) if changed else _("as before")


def value_in_brief(setting: str, value: Value) -> str:
    """A word or two, where many values stand below each other."""
    if setting == Setting.OUTBOUND_GATEWAY:
        return value["server"]["host"] if value["server"] else _("Installation")
    if setting == Setting.GATEWAY_GUARDRAILS:
        return _("%d own") % len(value)
    if setting == Setting.GATEWAY_FAILURE:
        return str(FAILURES_IN_BRIEF[value["choice"]])
    return value_in_words(setting, value)


def _on_or_off(value: Value) -> str:
    return _("On") if value["allowed"] else _("Off")


def _failure(value: Value) -> str:
    return str(GatewayFailure(value["choice"]).label)


def _guardrails(value: Value) -> str:
    told = [
        f"{guardrail.label}: {guardrail_in_words(guardrail, value[guardrail])}"
        for guardrail in Guardrail
        if guardrail in value
    ]
    return " · ".join(told) or _("None")


def _outbound(value: Value) -> str:
    server = value["server"]
    if server is None:
        return _("the relay of this installation")
    told = f"{server['host']}:{server['port']} {SECURITIES[server['security_mode']]}"
    return told if server["credential_id"] is None else _("%s, with a sign-in") % told


FAILURES_IN_BRIEF = {
    GatewayFailure.REFUSE: pgettext_lazy("when an own server fails", "Refuse"),
    GatewayFailure.HOLD: pgettext_lazy("when an own server fails", "Hold"),
    GatewayFailure.OUR_SERVERS: pgettext_lazy("when an own server fails", "Send"),
}
SECURITIES = {
    Security.NONE: gettext_lazy("without encryption"),
    Security.STARTTLS: gettext_lazy("with STARTTLS"),
    Security.SSL: gettext_lazy("with TLS from the start"),
}
IN_WORDS: dict[str, Callable[[Value], str]] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: _on_or_off,
    Setting.GATEWAY_FAILURE: _failure,
    Setting.GATEWAY_GUARDRAILS: _guardrails,
    Setting.OUTBOUND_GATEWAY: _outbound,
}


def guardrail_in_words(guardrail: str, parts: Value) -> str:
    return "; ".join(PARTS[guardrail](parts))


def loosened_in_words(value: Value, above: Guardrails) -> dict[Guardrail, str]:
    """For each guardrail of a unit's value that is looser than what a unit above demands."""
    demanded = above.as_value()
    return {
        guardrail: _("Looser than %(unit)s demands: %(value)s. What is set here holds instead.")
        % {
            "unit": above.decider(guardrail).unit,
            "value": guardrail_in_words(guardrail, demanded[guardrail]),
        }
        for guardrail in loosened(value, above)
    }


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _names(parts: Value) -> Iterator[str]:
    if parts["allowed"]:
        yield _("only %(names)s") % {"names": _listed(parts["allowed"])}
    elif not parts["denied"]:
        yield _("all")
    if parts["denied"]:
        yield _("not %(names)s") % {"names": _listed(parts["denied"])}


def _connection(parts: Value) -> Iterator[str]:
    if parts["ports"]:
        yield _("ports %(ports)s") % {"ports": _listed(parts["ports"])}
    else:
        yield _("every port that is open to own servers")
    yield _("TLS %(version)s or later") % {"version": parts["least_tls"]}
    if parts["tls_from_start"]:
        yield _("TLS from the start")


def _addresses(parts: Value) -> Iterator[str]:
    yield _("at most %(number)d") % {"number": parts["most"]}


def _recipients(parts: Value) -> Iterator[str]:
    per_hour, per_day = parts["per_hour"], parts["per_day"]
    if per_hour is not None:
        yield _("%(number)d recipients an hour") % {"number": per_hour}
    if per_day is not None:
        yield _("%(number)d recipients a day") % {"number": per_day}
    if per_hour is None and per_day is None:
        yield _("those of this installation")


def _approval(parts: Value) -> Iterator[str]:
    yield _("needed for a new server") if parts["needed"] else _("not needed")


PARTS: dict[str, Callable[[Value], Iterator[str]]] = {
    Guardrail.SERVERS: _names,
    Guardrail.DOMAINS: _names,
    Guardrail.CONNECTION: _connection,
    Guardrail.ADDRESSES: _addresses,
    Guardrail.RECIPIENTS: _recipients,
    Guardrail.APPROVAL: _approval,
}
