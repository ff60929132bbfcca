"""The demo's mail servers keep every byte, and the partner's lets nobody borrow an address."""

import asyncio
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.certificates import keep_certificates
from config.demo_mail import serve
from config.installation import Installation, read_installation
from tests.config.running import free_ports
from tests.processes import until

MESSAGE = (
    b"From: user@yourdomain.com\r\nSubject: \xc3\xa4\r\n\r\n"
    b"..two dots\r\n \r\n" + b"x" * 8_000 + b"\r\n\xff\xfe\r\n"
)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Installation]:
    installation = read_installation(free_ports() | {"OUTGATE_DATA_DIR": str(tmp_path)})
    keep_certificates(tmp_path / "certificates")
    stop = threading.Event()

    async def until_stopped() -> None:
        async with serve(installation):
            while not stop.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=asyncio.run, args=(until_stopped(),))
    thread.start()
    until(lambda: opens(installation.ports["OUTGATE_DEMO_PARTNER_PORT"]), 5)
    yield installation
    stop.set()
    thread.join()


def opens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def sign_on(installation: Installation, variable: str) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", installation.ports[variable])
    authority = installation.data_dir / "certificates" / "ca.pem"
    client.starttls(context=ssl.create_default_context(cafile=authority))
    return client


def only_message(installation: Installation, server: str) -> bytes:
    (kept,) = (installation.maildir(server) / "new").iterdir()
    return kept.read_bytes()


def test_ours_keeps_the_message_byte_for_byte_below_its_envelope(demo: Installation) -> None:
    recipients = ["ada@example.org", "ben@example.net"]
    with sign_on(demo, "OUTGATE_DEMO_OURS_PORT") as client:
        client.sendmail("user@yourdomain.com", recipients, MESSAGE, ["BODY=8BITMIME"])
    kept = only_message(demo, "ours")
    lines = kept.removesuffix(MESSAGE).decode().split("\r\n")
    assert lines[0] == "X-Envelope-From: user@yourdomain.com"
    assert lines[1] == "X-Envelope-To: ada@example.org, ben@example.net"
    assert lines[2].startswith("Received: from ")
    assert lines[-1] == ""
    assert kept.endswith(MESSAGE)


def test_ours_takes_nothing_without_tls(demo: Installation) -> None:
    with smtplib.SMTP("localhost", demo.ports["OUTGATE_DEMO_OURS_PORT"]) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<user@yourdomain.com>")[0] == 530


def test_partner_takes_mail_of_the_address_that_signed_in(demo: Installation) -> None:
    with sign_on(demo, "OUTGATE_DEMO_PARTNER_PORT") as client:
        client.login("user.name@partnerdomain.com", demo.secrets().partner_password)
        client.sendmail("user.name@partnerdomain.com", ["ada@example.org"], MESSAGE)
    assert only_message(demo, "partner").endswith(MESSAGE)


def test_partner_refuses_another_sender_than_the_one_signed_in(demo: Installation) -> None:
    with sign_on(demo, "OUTGATE_DEMO_PARTNER_PORT") as client:
        client.login("user.name@partnerdomain.com", demo.secrets().partner_password)
        assert client.docmd("MAIL FROM:<user@yourdomain.com>")[0] == 553


def test_partner_refuses_who_has_not_signed_in_or_with_a_wrong_password(
    demo: Installation,
) -> None:
    with sign_on(demo, "OUTGATE_DEMO_PARTNER_PORT") as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<user.name@partnerdomain.com>")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("user.name@partnerdomain.com", "guess")
