"""People who share an address or a host: each one's mail leaves under his own sign-in only."""

import contextlib
import random
import smtplib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from accounts.models import User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from sendas.credentials import Binding, seal
from sendas.models import SendAs, SmtpMsa
from tests.submission.conftest import PostOffice, apply_policy
from tests.submission.provider import provider

SHARED = "team@provider.example"
RECIPIENT = "claire@customer.example"
SESSIONS = 6  # open at once, for each account

pytestmark = pytest.mark.slow


@dataclass
class Sender:
    """An account, the outside address it writes from, and how it signs in at its provider."""

    user: User
    address: str
    username: str
    password: str
    app_password: str = ""

    @property
    def sign_in(self) -> tuple[str, str]:
        return self.username, self.password

    def set_up(self, office: PostOffice, number: int) -> None:
        send_as = SendAs.objects.create(
            user=self.user, send_as_email=self.address, verification_status="accepted"
        )
        server = Binding(send_as.pk, "localhost", office.upstream_port, "ssl", self.username)
        key_id, ciphertext = seal(self.password, server)
        SmtpMsa.objects.create(
            send_as=send_as, host=server.host, port=server.port,
            security_mode=server.security_mode, username=server.username,
            key_id=key_id, ciphertext=ciphertext,
        )  # fmt: skip
        apply_policy(self.user, allowed=True, version=number)
        self.app_password = create_app_password(actor=SYSTEM, user=self.user, name="Laptop")[1]


@pytest.fixture
def senders(post_office, owner, colleague, stranger, super_admin) -> list[Sender]:
    people = [
        # One address, one user name, two passwords.
        Sender(owner, SHARED, SHARED, "of the owner"),
        Sender(colleague, SHARED, SHARED, "of the colleague"),
        # One host, two mailboxes.
        Sender(stranger, "ada@provider.example", "ada", "of the stranger"),
        Sender(super_admin, "mina@provider.example", "mina", "of the administrator"),
    ]
    for number, sender in enumerate(people, 1):
        sender.set_up(post_office, number)
    return people


@pytest.mark.parametrize("messages", [200, pytest.param(1_000, marks=pytest.mark.soak)])
def test_interleaved_messages_never_cross(post_office, senders, messages):
    turns = [sender for sender in senders for _ in range(messages // len(senders))]
    random.Random(messages).shuffle(turns)
    begun = time.monotonic()
    with (
        provider(
            post_office.upstream_port, post_office.certificate, {s.sign_in for s in senders}
        ) as server,
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(SESSIONS) as pool,
    ):
        clients = [
            [stack.enter_context(sign_in(post_office, sender)) for _ in range(SESSIONS)]
            for sender in senders
        ]

        def send_all(lane: int) -> None:
            """Every lane takes its part of the turns: neighbours leave at the same moment."""
            for number in range(lane, len(turns), SESSIONS):
                sender = turns[number]
                client = clients[senders.index(sender)][lane]
                client.sendmail(sender.address, [RECIPIENT], write(sender, number))

        list(pool.map(send_all, range(SESSIONS)))
    print(f"{messages} messages of 4 accounts in {time.monotonic() - begun:.1f} s")
    assert len(server.kept) == messages
    crossed = []
    for signed_in, envelope_sender, content in server.kept:
        number = int(content.split(b"Subject: ")[1].split()[0])
        author = turns[number]
        if (signed_in, envelope_sender) != (author.sign_in, author.address):
            crossed.append((number, signed_in, envelope_sender))
        if author.user.primary_address.encode() not in content.split(b"\r\n\r\n", 1)[1]:
            crossed.append((number, "content"))
    assert crossed == []
    assert Counter(sign_in for sign_in, *_ in server.kept) == Counter(
        sender.sign_in for sender in turns
    )
    assert post_office.raw("ours") == post_office.raw("partner") == []


def sign_in(office: PostOffice, sender: Sender) -> smtplib.SMTP_SSL:
    client = office.connect()
    client.login(sender.user.primary_address, sender.app_password)
    return client


def write(sender: Sender, number: int) -> str:
    return (
        f"From: {sender.address}\r\nTo: {RECIPIENT}\r\nSubject: {number}\r\n\r\n"
        f"Written by {sender.user.primary_address}\r\n"
    )
