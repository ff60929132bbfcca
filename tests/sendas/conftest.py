"""A partner's mail server that keeps what it gets, and an owner who may use it."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from django.db.models.functions import Now

from accounts.models.people import cohort_count
from accounts.services.audit import SYSTEM
from policies.models import AppliedPolicy, Setting
from sendas import upstream
from sendas.models import MailDomain, SendAs
from sendas.services.addresses import set_gateway
from sendas.services.connection import GatewaySettings
from tests.sendas.dns_server import DnsServer, dns_server
from tests.smtp.certificates import Authority
from tests.smtp_server import serving

PARTNER = "user.name@partnerdomain.com"
CANARY = "canary-7f3a-password"


@dataclass
class PartnerServer:
    """One running aiosmtpd; `tried` holds the passwords that reached it."""

    port: int = 0
    tried: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    refused_senders: dict[str, str] = field(default_factory=dict)
    senders: list[str] = field(default_factory=list)
    sign_in_reply: str = ""

    async def handle_MAIL(  # noqa: N802 aiosmtpd's name
        self, server: object, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.senders.append(address)
        if address in self.refused_senders:
            return self.refused_senders[address]
        envelope.mail_from = address
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802 aiosmtpd's name
        self, server: object, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 5.1.1 Nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(  # noqa: N802 aiosmtpd's name
        self, server: object, session: Session, envelope: Envelope
    ) -> str:
        return "250 2.0.0 Kept"

    def authenticate(
        self, server: object, session: Session, envelope: Envelope, kind: str, sent: LoginPassword
    ) -> AuthResult:
        self.tried.append(sent.password.decode())
        if self.sign_in_reply:
            return AuthResult(success=False, handled=False, message=self.sign_in_reply)
        if sent == LoginPassword(PARTNER.encode(), CANARY.encode()):
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False)


@contextlib.contextmanager
def partner_server(
    *, tls_from_start: ssl.SSLContext | None = None, **options: object
) -> Iterator[PartnerServer]:
    """On a free port of 127.0.0.1, with an event loop of its own in a thread."""
    partner = PartnerServer()
    options["authenticator"] = partner.authenticate
    with serving(partner, tls=tls_from_start, **options) as partner.port:
        yield partner


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """The authority, trusted by the application as an operator would have it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    upstream.tls_context.cache_clear()
    yield authority
    upstream.tls_context.cache_clear()


@pytest.fixture
def partner(trusted: Authority, open_ports) -> Iterator[PartnerServer]:
    """STARTTLS on localhost; knows PARTNER by CANARY."""
    tls = trusted.server_context()
    with partner_server(tls_context=tls, require_starttls=True) as server:
        open_ports(server.port)
        yield server


@pytest.fixture
def open_ports(settings) -> Iterator[object]:
    """Lets gateways use further ports, as an operator does."""

    def allow(*ports: int) -> None:
        settings.OUTGATE_EGRESS_PORTS = settings.OUTGATE_EGRESS_PORTS | set(ports)
        upstream.egress_guard.cache_clear()

    yield allow
    upstream.egress_guard.cache_clear()


@pytest.fixture
def dns(settings) -> Iterator[DnsServer]:
    """The only DNS server there is, and the search switched on."""
    with dns_server() as server:
        settings.OUTGATE_FIND_SETTINGS = True
        settings.OUTGATE_DNS_SERVERS = (("127.0.0.1", server.port),)
        yield server


@pytest.fixture
def allowed(owner) -> None:
    """Own servers are on for the owner's unit and cohort."""
    apply_policy(owner, value={"allowed": True})


def apply_policy(user, *, value: dict[str, bool] | None, version: int = 1) -> AppliedPolicy:
    """What a wave leaves behind for the user's cohort."""
    return AppliedPolicy.objects.create(
        cohort=user.cohort,
        unit=user.unit,
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value=value,
        version=version,
    )


def move_to_next_cohort(user) -> None:
    """Into an ordinary cohort that nothing has reached."""
    user.cohort = user.cohort % cohort_count() + 1
    user.save()


@pytest.fixture
def user(client, owner):
    """The owner, signed in."""
    client.force_login(owner)
    return client


@pytest.fixture
def page(client, owner):
    """Opens the owner's list; the answer is its HTML."""
    client.force_login(owner)
    return lambda: client.get("/settings/").content.decode()


@pytest.fixture
def with_gateway(owner, allowed, partner) -> SendAs:
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    return SendAs.objects.get()


def gateway_at(port: int, **changes: object) -> GatewaySettings:
    settings = GatewaySettings("localhost", port, "starttls", PARTNER, CANARY)
    return settings._replace(**changes)


def make_send_as(
    user,
    *,
    address: str = PARTNER,
    status: str = SendAs.VerificationStatus.ACCEPTED,
    name: str = "User Name",
) -> SendAs:
    return SendAs.objects.create(
        user=user, send_as_email=address, display_name=name, verification_status=status
    )


def know_domain(name: str = "partnerdomain.com", *, policy: str, **more: object) -> MailDomain:
    """What was heard from the domain just now."""
    said = {"policy": policy, "answered_at": Now(), "organisational_domain": name, **more}
    return MailDomain.objects.update_or_create(name=name, defaults=said)[0]


def make_pending(user, *, address: str = PARTNER) -> SendAs:
    return make_send_as(user, address=address, status=SendAs.VerificationStatus.PENDING)
