"""Whatever an upstream does at whatever step: the client hears the right class of reply, in time.

Silence is in `smtp/test_client_*.py` with short timeouts, here with the real ones (`make soak`).
"""

import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from delivery.models import Delivery
from sendas.models import SendAs
from tests.processes import until
from tests.submission.conftest import apply_policy, set_gateway
from tests.submission.own_service import PRIMARY, OwnService, own_service
from tests.submission.stations import ONE_BY_ONE, station_ports
from tests.submission.upstream import ANSWERS, Upstream, reset

LINE = b"x" * 998 + b"\r\n"
RECIPIENT = "claire@customer.example"
SECONDS = 10.0  # each is answered at once; a timeout of the service's would take a minute

pytestmark = pytest.mark.slow


def endless(connection: ssl.SSLSocket) -> None:
    """A reply whose last line never comes."""
    while True:
        connection.sendall(b"250-and so on\r\n" * 100)


def endless_line(connection: ssl.SSLSocket) -> None:
    while True:
        connection.sendall(b"250 and so on" * 100)


def large(code: int) -> bytes:
    """A reply of 200 kB."""
    return b"%d-%b\r\n" % (code, b"x" * 400) * 500 + b"%d the end\r\n" % code


def bad_utf8(code: int) -> bytes:
    return b"%d \xff\xfe\xc3( not UTF-8 \xe2\x82\r\n" % code


def agreed_then_reset(step: str) -> Callable[[ssl.SSLSocket], None]:
    def play(connection: ssl.SSLSocket) -> None:
        connection.sendall(ANSWERS[step])
        reset(connection)

    return play


FAULTS = {
    "closed": b"",
    "reset": reset,
    "421": b"421 4.3.2 Closing\r\n",
    "450": b"450 4.2.0 Not now\r\n",
    "550": b"550 5.7.1 Not you\r\n",
    "no SMTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "endless": endless,
    "endless line": endless_line,
    "200 kB": large(250),
    "bad UTF-8 in a refusal": bad_utf8(550),
}
# What the client hears for each, in this order; 451 where nobody can know.
HEARD = {
    "greeting": (451, 451, 451, 451, 554, 451, 451, 451, 451, 554),
    "EHLO": (451, 451, 451, 451, 451, 451, 451, 451, 451, 451),
    "AUTH": (451, 451, 451, 451, 554, 451, 451, 451, 451, 554),
    "MAIL": (451, 451, 451, 450, 550, 451, 451, 451, 451, 550),
    "RCPT": (451, 451, 451, 450, 550, 451, 451, 451, 451, 550),
    "DATA": (451, 451, 451, 450, 550, 451, 451, 451, 451, 550),
    ".": (451, 451, 451, 450, 550, 451, 451, 451, 451, 550),
}


YES_TO_SOMETHING_ELSE = [
    ("greeting", b"250 2.0.0 OK\r\n"),
    ("EHLO", b"220 2.0.0 OK\r\n"),
    ("AUTH", b"250 2.0.0 OK\r\n"),
    ("AUTH", b"354 Go on\r\n"),
    ("MAIL", b"354 Go on\r\n"),
    ("RCPT", b"354 Go on\r\n"),
    ("DATA", b"250 2.0.0 OK\r\n"),
    (".", b"354 Go on\r\n"),
]


def new_gateways(owner, post_office, ports: list[int]) -> list[SendAs]:
    """One for each trial: what went wrong with another is not remembered against it."""
    found = []
    for number, port in enumerate(ports):
        send_as = SendAs.objects.create(
            user=owner, verification_status="accepted",
            send_as_email=f"address{number}@partnerdomain.com",
        )  # fmt: skip
        set_gateway(send_as, post_office, "secret", port=port, security_mode="ssl")
        found.append(send_as)
    post_office.hears_of_changes()
    return found


def send(client: smtplib.SMTP, send_as: SendAs) -> int:
    message = f"From: {send_as.send_as_email}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n"
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    return client.data(message)[0]


@pytest.fixture
def client(post_office, owner, app_password):
    apply_policy(owner, allowed=True, version=1)
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


@pytest.fixture
def gateways(client, owner, post_office) -> Iterator[SendAs]:
    """Addresses that nothing has happened to, for the scripted upstream."""
    return iter(new_gateways(owner, post_office, [post_office.upstream_port] * 2 * len(FAULTS)))


@pytest.mark.parametrize("step", HEARD)
def test_every_fault_at_every_step_is_classed(client, gateways, post_office, step):
    for pipelining in (True, False) if step in {"MAIL", "RCPT", "DATA"} else (True,):
        heard = {}
        for fault, answer in FAULTS.items():
            send_as = next(gateways)
            with post_office.upstream(**{step: answer}) as upstream:
                if not pipelining:
                    upstream.answers["EHLO"] = ONE_BY_ONE
                begun = time.monotonic()
                heard[fault] = send(client, send_as)
                assert time.monotonic() - begun < SECONDS, fault
                assert upstream.dots == (step == "."), fault
        assert heard == dict(zip(FAULTS, HEARD[step], strict=True)), pipelining
    assert post_office.raw("ours") == post_office.raw("partner") == []
    until(lambda: Delivery.objects.filter(finished_at=None).count() == 0, 5)
    assert not Delivery.objects.filter(state=Delivery.State.DELIVERED).exists()


def test_a_yes_to_something_else_is_none(client, gateways, post_office):
    for step, answer in YES_TO_SOMETHING_ELSE:
        for pipelining in (True, False) if step in {"MAIL", "RCPT", "DATA"} else (True,):
            send_as = next(gateways)
            with post_office.upstream(**{step: answer}) as upstream:
                if not pipelining:
                    upstream.answers["EHLO"] = ONE_BY_ONE
                begun = time.monotonic()
                assert send(client, send_as) == 451, (step, answer)
                assert time.monotonic() - begun < SECONDS
                assert upstream.dots == (step == ".")


def test_a_reset_behind_a_good_answer_is_no_delivery(client, gateways, post_office):
    for step in ("greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"):
        send_as = next(gateways)
        with post_office.upstream(**{step: agreed_then_reset(step)}) as upstream:
            assert send(client, send_as) == 451, step
            assert upstream.dots == 0


def test_a_reset_behind_the_final_250_is_a_delivery(client, gateways, post_office):
    send_as = next(gateways)
    with post_office.upstream(**{".": agreed_then_reset(".")}) as upstream:
        assert send(client, send_as) == 250
        upstream.answers.clear()
        assert send(client, send_as) == 250  # on another connection
        assert upstream.dots == 2


def test_bad_utf8_in_good_answers_does_no_harm(client, gateways, post_office):
    for step in ("greeting", "AUTH", "MAIL", "RCPT", "DATA", "."):
        send_as = next(gateways)
        with post_office.upstream(**{step: bad_utf8(int(ANSWERS[step][:3]))}) as upstream:
            assert send(client, send_as) == 250, step
            assert upstream.dots == 1


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_silence_at_any_step_ends_with_its_timeout(post_office, owner, app_password):
    """All at once, with the service's real timeouts: the longest is ten minutes."""
    seconds = {"greeting": 30, "EHLO": 60, "AUTH": 60, "MAIL": 60, "RCPT": 60, "DATA": 60}
    seconds |= {"content": 180, ".": 600}
    apply_policy(owner, allowed=True, version=1)
    ports = station_ports()

    def wait_for_answer(step: str, send_as: SendAs, service: OwnService) -> tuple[int, float]:
        port = send_as.smtp_msa.port
        message = f"From: {send_as.send_as_email}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\n".encode()
        with (
            Upstream(port, post_office.certificate, hold=step),
            service.sign_in(app_password) as client,
        ):
            client.sock.settimeout(700)
            client.mail(PRIMARY)
            client.rcpt(RECIPIENT)
            begun = time.monotonic()
            code = client.data(message + LINE * (16_000 if step == "content" else 1))[0]
            return code, time.monotonic() - begun

    addresses = new_gateways(owner, post_office, ports)
    environment = {"OUTGATE_EGRESS_PORTS": ",".join(map(str, ports))}
    with own_service(post_office, **environment) as service, ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(
            lambda step, address: wait_for_answer(step, address, service), seconds, addresses
        ))  # fmt: skip
    for (step, limit), (code, took) in zip(seconds.items(), heard, strict=True):
        print(f"silent at {step}: {code} after {took:.0f} s")
        assert code == 451, step
        assert limit <= took < limit + 5, step
