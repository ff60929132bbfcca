"""Which server probably takes mail from an address: found, told with its source, never taken as so.

Asked in this order: the domain's SRV records (RFC 6186, RFC 8314), the settings that it publishes
for mail programs, what is known of the provider that receives its mail, and the usual names.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings

from accounts.models import User
from sendas import dns_records
from sendas.autoconfig import AutoconfigError, PublishedServer, read_servers
from sendas.guarded_fetch import fetch
from sendas.services.connection import NO_ADDRESS_SECONDS, count_test, run_within
from sendas.services.outcomes import ConnectionTestError
from sendas.services.providers import Provider, SignIn, provider_behind
from sendas.upstream import tls_context
from smtp.address import split_address
from smtp.egress import EgressGuard, is_host_name, system_look_up
from smtp.failure import SmtpFailure
from smtp.target import Security

# For the records, and again for the servers: somebody waits for the page.
SECONDS = 2.5
# RFC 8314 3.3: TLS from the start is the better one of the two.
SERVICES = (("submissions", Security.SSL), ("submission", Security.STARTTLS))
USUAL_NAMES = ("smtp", "mail")
USUAL_PORT, USUAL_SECURITY = 587, Security.STARTTLS


class Source(StrEnum):
    """Who says so."""

    RECORD = "record"
    PUBLISHED = "published"
    PROVIDER = "provider"
    USUAL_NAME = "usual name"
    NOTHING = "nothing"


class Proposal(NamedTuple):
    """Settings to begin with; `host` is "" where nothing was found.

    `mail_host` receives the domain's mail. `takes_password` is False where the domain itself says
    that its server takes none.
    """

    source: Source = Source.NOTHING
    host: str = ""
    port: int = USUAL_PORT
    security_mode: str = USUAL_SECURITY
    username: str = ""
    mail_host: str = ""
    takes_password: bool = True

    @property
    def provider(self) -> Provider | None:
        """Who runs the server; where none was found, who receives the mail."""
        return provider_behind(self.host or self.mail_host)

    @property
    def takes_some_password(self) -> bool:
        """Whether a password of any kind is likely to be of use at the server."""
        provider = self.provider
        return self.takes_password and not (provider and provider.sign_in is SignIn.NO_PASSWORD)


def propose_settings(
    *,
    user: User,
    address: str,
    https_port: int = 443,
    look_up: Callable[[str], list[str]] = system_look_up,
) -> Proposal:
    """What can be found out for `address` within five seconds; it may be nothing.

    `look_up` answers for names, within the egress guard. Asking a web server counts as a connection
    test, for it goes where a person says.
    """
    domain = split_address(address)[1]
    if not settings.OUTGATE_FIND_SETTINGS or not is_host_name(domain):
        return Proposal()
    recorded, mail_host = run_within(2 * SECONDS, _ask_records(domain))
    if recorded:
        return recorded._replace(mail_host=mail_host, username=address)
    published = usual = None
    if _may_look(user):
        guard = EgressGuard(
            allowed_networks=settings.OUTGATE_EGRESS_NETWORKS,
            ports={https_port, USUAL_PORT},
            look_up=look_up,
        )
        published, usual = _look_around(address, https_port, guard)
    found = published or _of_provider(mail_host) or usual or Proposal()
    return found._replace(mail_host=mail_host, username=found.username or address)


async def _ask_records(domain: str) -> tuple[Proposal | None, str]:
    """What SRV says, and the first name behind MX; what the time is too short for is left out."""
    answers = await all_in_time(
        *(dns_records.services(domain, service) for service, _security in SERVICES),
        dns_records.mail_hosts(domain),
        seconds=SECONDS,
    )
    *offered, mail_hosts = answers
    proposals = (
        Proposal(Source.RECORD, server.address, server.port, security)
        for servers, (_service, security) in zip(offered, SERVICES, strict=True)
        for server in servers or ()
        if _usable(server.address, server.port)
    )
    return next(proposals, None), next(iter(mail_hosts or ()), "")


def _may_look(user: User) -> bool:
    try:
        count_test(user)
    except ConnectionTestError:
        return False
    return True


def _look_around(
    address: str, https_port: int, guard: EgressGuard
) -> tuple[Proposal | None, Proposal | None]:
    """What the domain publishes, and a usual name; nothing is answered no sooner than a test is."""
    begun = time.monotonic()
    published, usual = run_within(2 * SECONDS, _ask_servers(address, https_port, guard))
    if not (published or usual):
        time.sleep(max(0, begun + NO_ADDRESS_SECONDS - time.monotonic()))
    return published, usual


async def _ask_servers(
    address: str, https_port: int, guard: EgressGuard
) -> tuple[Proposal | None, Proposal | None]:
    domain = split_address(address)[1]
    query = f"emailaddress={quote(address)}"
    places = [
        (f"autoconfig.{domain}", f"/mail/config-v1.1.xml?{query}"),
        (domain, f"/.well-known/autoconfig/mail/config-v1.1.xml?{query}"),
    ]
    tls = tls_context()
    first, second, *names = await all_in_time(
        *(fetch(host, path, port=https_port, guard=guard, tls=tls) for host, path in places),
        *(_is_public(f"{name}.{domain}", guard) for name in USUAL_NAMES),
        seconds=SECONDS,
    )
    known = [f"{n}.{domain}" for n, there in zip(USUAL_NAMES, names, strict=True) if there]
    known = known if USUAL_PORT in settings.OUTGATE_EGRESS_PORTS else []
    usual = Proposal(Source.USUAL_NAME, known[0]) if known else None
    return _read(first, address) or _read(second, address), usual


async def _is_public(host: str, guard: EgressGuard) -> bool:
    """Whether a server may be there; nobody is connected to."""
    try:
        return bool(await guard.resolve(host, USUAL_PORT))
    except SmtpFailure:
        return False


def _read(document: bytes | None, address: str) -> Proposal | None:
    """The first server of the file that takes a password, else the first."""
    if document is None:
        return None
    try:
        servers = read_servers(document, address)
    except AutoconfigError:
        return None
    usable = [server for server in servers if _usable(server.host, server.port)]
    usable.sort(key=lambda server: not server.takes_password)
    return _as_proposal(usable[0]) if usable else None


def _as_proposal(server: PublishedServer) -> Proposal:
    return Proposal(
        Source.PUBLISHED,
        server.host,
        server.port,
        server.security,
        server.username,
        takes_password=server.takes_password,
    )


def _of_provider(mail_host: str) -> Proposal | None:
    provider = provider_behind(mail_host)
    if provider is None or provider.port not in settings.OUTGATE_EGRESS_PORTS:
        return None
    return Proposal(Source.PROVIDER, provider.host, provider.port, provider.security)


def _usable(host: str, port: int) -> bool:
    return is_host_name(host) and port in settings.OUTGATE_EGRESS_PORTS


async def all_in_time(*questions: Coroutine[Any, Any, Any], seconds: float) -> list[Any]:
    """Each answer, or None where it takes longer, or DNS gave none."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    _done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [_or_none(answer) for answer in answers]


def _or_none(answer: Any) -> Any:
    if isinstance(answer, dns_records.Unanswered | asyncio.CancelledError):
        return None
    if isinstance(answer, BaseException):
        raise answer
    return answer
