"""What a unit's guardrails say to a person, before and after an own server is typed."""

from collections.abc import Iterable, Iterator

from django.utils.translation import gettext as _

from accounts.models import User
from policies.guardrails import Guardrail, Guardrails, Patterns
from policies.services import applied_guardrails
from sendas.services.discovery import Proposal
from sendas.services.outcomes import ConnectionTestError, TestStep
from smtp.address import split_address
from smtp.target import Security

TOPIC = "forbidden"  # its paragraph on the help page about errors
MOST_NAMED = 10
FROM_START_PORT = 465


def guardrails_of(user: User) -> Guardrails:
    """As applied to the account's unit and cohort."""
    return applied_guardrails(user.unit.path, user.cohort)


def check_guardrails(
    guardrails: Guardrails, *, address: str, host: str, port: int, security_mode: str
) -> None:
    """Raise ConnectionTestError where the administrator forbade it: nothing is contacted then."""
    refusal = _refusal(guardrails, address, host, port, security_mode)
    if refusal:
        raise refusal


def domain_refusal(guardrails: Guardrails, address: str) -> str:
    """Why no own server may carry the mail of the address, whichever it is; "" where one may."""
    domain = split_address(address)[1]
    return "" if guardrails.domains.permit(domain) else _forbidden_domain(guardrails, domain)


def fit_proposal(guardrails: Guardrails, address: str, proposal: Proposal) -> tuple[Proposal, str]:
    """What may be filled in of a proposal, and the refusal of what may not; "" for nothing."""
    from_start = proposal._replace(port=FROM_START_PORT, security_mode=Security.SSL)
    if guardrails.tls_from_start:
        proposal = from_start
    if not proposal.host:
        return proposal, ""
    refusal = _refusal(guardrails, address, proposal.host, proposal.port, proposal.security_mode)
    if refusal is None:
        return proposal, ""
    if refusal.field == "host":
        return proposal._replace(host=""), refusal.text
    return from_start if FROM_START_PORT in guardrails.ports else proposal, refusal.text


def _refusal(
    guardrails: Guardrails, address: str, host: str, port: int, security_mode: str
) -> ConnectionTestError | None:
    domain = split_address(address)[1]
    guardrail = guardrails.forbidding(domain=domain, host=host, port=port, security=security_mode)
    if guardrail is None:
        return None
    who = {"unit": guardrails.decider(guardrail).unit}
    if guardrail == Guardrail.DOMAINS:
        text = _with_allowed(_forbidden_domain(guardrails, domain), guardrails.domains)
        return ConnectionTestError(TestStep.NAME, "host", text, topic=TOPIC)
    if guardrail == Guardrail.SERVERS:
        what = _("Your administrator (%(unit)s) does not allow the server %(host)s.")
        text = _with_allowed(what % {**who, "host": host}, guardrails.servers)
        return ConnectionTestError(TestStep.NAME, "host", text, topic=TOPIC)
    return _forbidden_connection(guardrails, who, port)


def _forbidden_domain(guardrails: Guardrails, domain: str) -> str:
    about = {"unit": guardrails.decider(Guardrail.DOMAINS).unit, "domain": domain}
    what = _("Your administrator (%(unit)s) allows no own server for addresses at %(domain)s.")
    return what % about


def _forbidden_connection(
    guardrails: Guardrails, who: dict[str, str], port: int
) -> ConnectionTestError:
    if guardrails.ports and port not in guardrails.ports:
        text = _("Your administrator (%(unit)s) does not allow port %(port)s. Allowed: %(ports)s.")
        about = {**who, "port": port, "ports": _join(map(str, sorted(guardrails.ports)))}
        return ConnectionTestError(TestStep.NAME, "port", text % about, topic=TOPIC)
    text = _("Your administrator (%(unit)s) wants TLS from the start. It goes with port 465.")
    return ConnectionTestError(TestStep.NAME, "security_mode", text % who, topic=TOPIC)


def _with_allowed(text: str, patterns: Patterns) -> str:
    if patterns.allowed:
        allowed = _("Allowed: %(names)s.") % {"names": _join(patterns.allowed)}
        return f"{text} {allowed}"
    return f"{text} {_('Choose “By our servers”.')}"


def _join(names: Iterable[str]) -> str:
    named = list(names)
    return ", ".join([*named[:MOST_NAMED], *["…"][: len(named) > MOST_NAMED]])


def guardrail_notes(guardrails: Guardrails) -> list[str]:
    """What a person has to know before an own server is typed; a sentence each."""
    return list(_notes(guardrails))


def _notes(guardrails: Guardrails) -> Iterator[str]:
    if guardrails.servers.allowed:
        yield _("Servers that may be used: %(names)s.") % {
            "names": _join(guardrails.servers.allowed)
        }
    if guardrails.servers.denied:
        yield _("Servers that may not be used: %(names)s.") % {
            "names": _join(guardrails.servers.denied)
        }
    if guardrails.domains.allowed:
        yield _("Own servers are for addresses at %(names)s.") % {
            "names": _join(guardrails.domains.allowed)
        }
    if guardrails.domains.denied:
        yield _("No own servers for addresses at %(names)s.") % {
            "names": _join(guardrails.domains.denied)
        }
    if guardrails.tls_from_start:
        yield _("Only TLS from the start, usually on port 465.")
    if guardrails.least_tls != Guardrails.least_tls:
        yield _("The server has to speak TLS %(version)s.") % {"version": guardrails.least_tls}
    if guardrails.needs_approval:
        yield _(
            "An administrator looks at a new server before it is used. Until then mail from the "
            "address leaves by our servers."
        )
