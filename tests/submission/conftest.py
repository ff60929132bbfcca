"""The real submission service and two real mail servers behind it, as processes of their own."""

import mailbox
import os
import shutil
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Max, Sum

from accounts.models import User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from config.certificates import keep_certificates
from config.demo_organisation import PARTNER_ADDRESS
from config.installation import LOOPBACK, read_installation
from delivery.models import RuleChange
from policies.models import AppliedPolicy, Setting
from sendas import upstream
from sendas.credentials import Binding, seal
from sendas.models import SendAs, SmtpMsa
from tests.config.running import free_ports
from tests.delivery.outbox import deliver
from tests.processes import MANAGE, Running, running, until
from tests.services import DATA_DIR
from tests.submission.upstream import Upstream


@dataclass
class PostOffice:
    """Addresses of the servers, and what `ours` and `partner` have captured."""

    data_dir: Path
    ports: dict[str, int]
    ca_file: Path
    partner_password: str
    submission: Running
    environment: dict[str, str]

    def captured(self, server: str) -> list[Message]:
        box = mailbox.Maildir(self.data_dir / "demo" / server, create=False)
        return [box[key] for key in sorted(box.keys())]

    def raw(self, server: str) -> list[bytes]:
        folder = self.data_dir / "demo" / server / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    def clear(self) -> None:
        for server in ("ours", "partner"):
            for path in (self.data_dir / "demo" / server / "new").iterdir():
                path.unlink()

    @property
    def port(self) -> int:
        return self.ports["OUTGATE_SUBMISSION_PORT"]

    @property
    def tls_port(self) -> int:
        return self.ports["OUTGATE_SUBMISSIONS_PORT"]

    def connect(self) -> smtplib.SMTP_SSL:
        """A mail program's connection, with TLS from the start."""
        tls = ssl.create_default_context(cafile=self.ca_file)
        return smtplib.SMTP_SSL("localhost", self.tls_port, context=tls, timeout=30)

    @property
    def upstream_port(self) -> int:
        return self.ports["OUTGATE_HTTP_PORT"]

    def upstream(self, **answers: bytes) -> Upstream:
        """A scripted server; a gateway to it has port `upstream_port` and TLS from the start."""
        return Upstream(self.upstream_port, self.certificate, answers=answers)

    @property
    def certificate(self) -> tuple[Path, Path]:
        """What servers at localhost show, and its key."""
        folder = self.data_dir / "certificates"
        return folder / "server.pem", folder / "key.pem"

    @property
    def log(self) -> str:
        return self.submission.output

    def hears_of_changes(self, service: Running | None = None) -> None:
        """Wait until the service knows of all changes so far; the right to send ends with that."""
        running = service or self.submission
        sums = RuleChange.objects.aggregate(total=Sum("amount"), newest=Max("id"))
        until(lambda: "rules are at {total}/{newest}".format(**sums) in running.output, 1)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def running_post_office(django_db_setup: None) -> Iterator[PostOffice]:
    data_dir = DATA_DIR / "post-office"
    data_dir.mkdir()
    certificates = keep_certificates(data_dir / "certificates")
    ports = free_ports()
    environment = os.environ | ports | {
        "OUTGATE_DATA_DIR": str(data_dir),
        "OUTGATE_RELAY_URL": f"smtp+starttls://localhost:{ports['OUTGATE_DEMO_OURS_PORT']}",
        # No page is served here, so its port is free for the scripted upstream.
        "OUTGATE_EGRESS_PORTS": "{OUTGATE_DEMO_PARTNER_PORT},{OUTGATE_HTTP_PORT}".format(**ports),
        "OUTGATE_HOSTNAME": "mail.yourdomain.com",
        "OUTGATE_TLS_CERT_FILE": str(certificates.server),
        "OUTGATE_TLS_KEY_FILE": str(certificates.server_key),
        "OUTGATE_LOG_LEVEL": "DEBUG",
        "SSL_CERT_FILE": str(certificates.bundle),
    }  # fmt: skip
    password = read_installation(environment).secrets().partner_password
    numbers = {name: int(port) for name, port in ports.items()}
    with (
        running("demo-mail", [*MANAGE, "demo_mail"], environment),
        running("submission", [*MANAGE, "submission"], environment) as submission,
    ):
        for name in numbers.keys() - {"OUTGATE_HTTP_PORT"}:
            until(lambda port=numbers[name]: _answers(port), 30, lambda: submission.output)
        yield PostOffice(
            data_dir, numbers, certificates.authority, password, submission, environment
        )
    shutil.rmtree(data_dir)


@pytest.fixture
def quiet(transactional_db: None) -> Iterator[None]:
    """The tables are emptied only when the service has ended what it writes after its reply."""
    yield
    with connection.cursor() as cursor:

        def busy() -> int:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND mode IN ('RowShareLock', 'RowExclusiveLock')"
            )
            return int(cursor.fetchone()[0])

        until(lambda: not busy(), 10)


@pytest.fixture
def post_office(running_post_office: PostOffice, quiet: None) -> PostOffice:
    running_post_office.clear()
    return running_post_office


@pytest.fixture
def app_password(owner) -> str:
    return create_app_password(actor=SYSTEM, user=owner, name="Laptop")[1]


@pytest.fixture
def partner_address(owner, post_office) -> SendAs:
    """A verified outside address of the owner, with the partner's server as its gateway."""
    send_as = SendAs.objects.create(
        user=owner, send_as_email=PARTNER_ADDRESS, display_name="User Name",
        verification_status=SendAs.VerificationStatus.ACCEPTED,
    )  # fmt: skip
    set_gateway(send_as, post_office, post_office.partner_password)
    return send_as


def set_gateway(
    send_as: SendAs, post_office: PostOffice, password: str, *, host: str = "localhost",
    port: int | None = None, security_mode: str = "starttls",
) -> SmtpMsa:  # fmt: skip
    """Keep a gateway as the settings page does, but untested, so that it can be a wrong one."""
    server = Binding(
        send_as.pk, host, port or post_office.ports["OUTGATE_DEMO_PARTNER_PORT"],
        security_mode, PARTNER_ADDRESS,
    )  # fmt: skip
    sealed = seal(password, server)
    return SmtpMsa.objects.create(
        send_as=send_as, host=server.host, port=server.port, security_mode=server.security_mode,
        username=server.username, key_id=sealed.key_id, ciphertext=sealed.ciphertext,
    )  # fmt: skip


def apply_policy(user, *, allowed: bool, version: int) -> None:
    """What a wave leaves behind for the user's cohort and unit."""
    AppliedPolicy.objects.update_or_create(
        cohort=user.cohort, unit=user.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        defaults={"value": {"allowed": allowed}, "version": version},
    )  # fmt: skip


def give_scripted_gateway(
    owner: User, post_office: PostOffice, password: str = "a password"
) -> SendAs:
    """A verified outside address whose gateway is the scripted server, with gateways allowed."""
    send_as = SendAs.objects.create(
        user=owner, send_as_email=PARTNER_ADDRESS, verification_status="accepted"
    )
    port = post_office.upstream_port
    set_gateway(send_as, post_office, password, port=port, security_mode="ssl")
    apply_policy(owner, allowed=True, version=1)
    return send_as


@pytest.fixture
def scripted(partner_address, post_office):
    """The gateway is the scripted server; returns how to start it."""
    SmtpMsa.objects.all().delete()
    set_gateway(partner_address, post_office, "secret", port=post_office.upstream_port,
                security_mode="ssl")  # fmt: skip
    return post_office.upstream


@pytest.fixture
def worker_here(post_office, settings, monkeypatch):
    """Runs of the outbox in this process, with the relay and the trust of the service."""
    settings.OUTGATE_RELAY_URL = (
        f"smtp+starttls://localhost:{post_office.ports['OUTGATE_DEMO_OURS_PORT']}"
    )
    settings.OUTGATE_EGRESS_PORTS = frozenset(post_office.ports.values())
    monkeypatch.setenv("SSL_CERT_FILE", str(post_office.data_dir / "certificates" / "bundle.pem"))
    caches = (upstream.relay, upstream.egress_guard, upstream.tls_context)
    for cache in caches:
        cache.cache_clear()
    yield deliver
    for cache in caches:
        cache.cache_clear()
