"""Messages that have been brought to a standstill, each at another step of its way upstream.

Each has a From of its own, whose gateway is an upstream of its own: what that has got tells which
step had been reached.
"""

import contextlib
import smtplib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from accounts.models import User
from sendas.models import SendAs
from sendas.services.breaker import CLAIM_SECONDS
from tests.ports import free_port
from tests.processes import until
from tests.submission.conftest import set_gateway
from tests.submission.own_service import OwnService
from tests.submission.upstream import Upstream

RECIPIENT = "claire@customer.example"
HALF = b"Half of the text\r\n" * 4_000
# The service sends no fewer than 16 kB at once, and reads as they come.
NOT_PASSED_ON = 32_768
ONE_BY_ONE = b"250-upstream.example\r\n250 AUTH PLAIN\r\n"


@dataclass(frozen=True)
class Step:
    """Where a message stands still: what its upstream had got, and whether it has the dot.

    The client sends `body` halves; it says its dot only where `dot`. The upstream is silent at
    `hold`, and `commands` are the last verbs that it has heard. Where `log_waits`, PostgreSQL keeps
    the row of the delivery log waiting.
    """

    name: str
    hold: str
    commands: tuple[str, ...]
    body: int = 2
    dot: bool = True
    dots: int = 0
    log_waits: bool = False


STEPS = (
    Step("connected", "greeting", ()),
    Step("EHLO", "EHLO", ("EHLO",)),
    Step("AUTH", "AUTH", ("EHLO", "AUTH")),
    Step("MAIL", "MAIL", ("AUTH", "MAIL")),
    Step("RCPT", "RCPT", ("MAIL", "RCPT")),
    Step("DATA", "DATA", ("RCPT", "DATA")),
    Step("half of the content", "", ("RCPT", "DATA"), body=1, dot=False),
    Step("all of the content", "", ("RCPT", "DATA"), dot=False),
    Step("the dot, not answered", ".", ("RCPT", "DATA"), dots=1),
    Step("the dot, answer not read", ".", ("RCPT", "DATA"), dots=1),
    Step("answered", "", ("RCPT", "DATA"), dots=1),
    # The last: the others' rows must have been written.
    Step("the client's dot, not logged yet", "", ("RCPT", "DATA"), log_waits=True),
)


@dataclass
class Station:
    """One message on its way; `heard` is the client's answer, None where the connection broke."""

    step: Step
    send_as: SendAs
    upstream: Upstream
    heard: int | None = None
    waits: threading.Thread | None = None
    client: smtplib.SMTP_SSL | None = None

    @property
    def login(self) -> str:
        return self.send_as.user.primary_address

    @property
    def message(self) -> bytes:
        return (
            f"From: {self.send_as.send_as_email}\r\nTo: {RECIPIENT}\r\n"
            f"Message-ID: <{self.send_as.pk}@partnerdomain.com>\r\nSubject: x\r\n\r\n"
        ).encode()

    def set_out(self, service: OwnService, password: str) -> None:
        """Send as much as the step asks for, and wait until the upstream has got there."""
        self.client = service.sign_in(password, login=self.login)
        self.client.mail(self.login)
        self.client.rcpt(RECIPIENT)
        assert self.client.docmd("DATA")[0] == 354
        self.client.send(self.message + HALF * self.step.body)
        if self.step.dot:
            self.client.send(b".\r\n")
        self.waits = threading.Thread(target=self._listen)
        self.waits.start()
        until(self.has_arrived, 10, lambda: f"{self.step.name}: {self.upstream.commands}")

    def has_arrived(self) -> bool:
        """Whether exactly this step has been reached, and none behind it."""
        step, upstream = self.step, self.upstream
        verbs = [command.split(" ")[0] for command in upstream.commands]
        there = tuple(verbs[len(verbs) - len(step.commands) :]) == step.commands
        there = there and upstream.dots == step.dots
        if step.hold:
            return there and upstream.holding.is_set()
        if step.dots:
            return there and self.heard is not None
        return there and upstream.content >= len(HALF) * step.body - NOT_PASSED_ON

    def _listen(self) -> None:
        assert self.client
        with contextlib.suppress(smtplib.SMTPServerDisconnected, OSError):
            self.heard = self.client.getreply()[0]

    def let_go(self) -> None:
        """Let the upstream and the client go on, and hear what becomes of it."""
        self.upstream.release()
        assert self.client
        assert self.waits
        if not self.step.dot:
            with contextlib.suppress(OSError):
                self.client.send(b".\r\n")
        self.waits.join(30)
        assert not self.waits.is_alive(), self.step.name

    def close(self) -> None:
        if self.client:
            self.client.close()

    def send_again(self, service: OwnService, password: str) -> None:
        """As mail programs do that heard no 250, until they hear one.

        Who was killed while signing in keeps the password from others until the claim runs out.
        """
        until(lambda: self._send(service, password) == 250, CLAIM_SECONDS + 30)

    def _send(self, service: OwnService, password: str) -> int:
        try:
            with service.sign_in(password, login=self.login) as client:
                client.sendmail(self.login, [RECIPIENT], self.message + HALF * 2)
        except smtplib.SMTPResponseException as refused:
            if refused.smtp_code >= 500:
                raise
            return refused.smtp_code
        return 250


@contextlib.contextmanager
def stations(service: OwnService, owner: User, ports: list[int]) -> Iterator[list[Station]]:
    """One message for each step, its gateway listening."""
    office = service.office
    with contextlib.ExitStack() as stack:
        found = []
        for number, (step, port) in enumerate(zip(STEPS, ports, strict=True)):
            send_as = SendAs.objects.create(
                user=owner, send_as_email=f"step{number}@partnerdomain.com",
                verification_status=SendAs.VerificationStatus.ACCEPTED,
            )  # fmt: skip
            set_gateway(send_as, office, "secret", port=port, security_mode="ssl")
            upstream = Upstream(port, office.certificate, hold=step.hold)
            if step.hold in {"MAIL", "RCPT", "DATA"}:
                upstream.answers["EHLO"] = ONE_BY_ONE
            found.append(Station(step, send_as, stack.enter_context(upstream)))
        office.hears_of_changes(service.process)
        stack.callback(lambda: [station.close() for station in found])
        yield found


def station_ports() -> list[int]:
    """Free ports, one for each step."""
    return [free_port() for _ in STEPS]
