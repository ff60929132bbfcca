"""Three nodes behind haproxy, one of them ended under load: docs/haproxy.cfg, with other ports."""

import itertools
import smtplib
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import pytest

from tests.ports import free_port
from tests.processes import CHECKOUT, running, until
from tests.submission.conftest import PostOffice
from tests.submission.nodes import Node, node

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGES = 200
CLIENTS = 6
# By then every client has sent some, and most are still to be sent.
ENOUGH = 60

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    nodes: list[Node]
    port: int


def configuration(nodes: list[Node], ports: list[int]) -> str:
    """The example of the documentation, for these nodes."""
    text = (CHECKOUT / "docs" / "haproxy.cfg").read_text()
    for name, port in zip(("465", "587"), ports, strict=True):
        text = text.replace(f"bind :{name}", f"bind 127.0.0.1:{port}")
    text = text.replace("check port 1588", "check")
    for number, each in enumerate(nodes):
        host = f"192.0.2.{11 + number}"
        for theirs, ours in (("1465", each.tls_port), ("1587", each.port)):
            line = f"{host}:{theirs}"
            assert text.count(line) == 1
            # One machine has all of them, so each has a port of its own to be asked at.
            text = text.replace(line, f"127.0.0.1:{ours} port {each.health_port}")
    return text


@pytest.fixture
def cluster(post_office: PostOffice, tmp_path) -> Iterator[Cluster]:
    balancer = {"OUTGATE_PROXY_NETWORKS": "127.0.0.1/32", "OUTGATE_LOG_LEVEL": "INFO"}
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(post_office, **balancer)) for _ in range(3)]
        for each in nodes:
            until(lambda each=each: each.ask("/readyz")[0] == 200, 10)
        ports = [free_port(), free_port()]
        file = tmp_path / "haproxy.cfg"
        file.write_text(configuration(nodes, ports))
        haproxy = stack.enter_context(running("haproxy", ["/usr/sbin/haproxy", "-db", "-f", file]))
        until(lambda: greets(ports[0], post_office), 10, lambda: haproxy.output)
        yield Cluster(nodes, ports[0])


def connect(port: int, post_office: PostOffice) -> smtplib.SMTP_SSL:
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    return smtplib.SMTP_SSL("localhost", port, context=tls, timeout=30)


def greets(port: int, post_office: PostOffice) -> bool:
    try:
        connect(port, post_office).quit()
    except (OSError, smtplib.SMTPException):
        return False
    return True


@dataclass
class Sender:
    """Mail programs that go on until each of their messages has been taken.

    `in_doubt` are the messages whose final dot was sent and never answered; `refusals` are the
    other codes that they heard.
    """

    port: int
    post_office: PostOffice
    app_password: str
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(MESSAGES)))
    lock: threading.Lock = field(default_factory=threading.Lock)
    accepted: list[str] = field(default_factory=list)
    in_doubt: list[str] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    reconnected: int = 0

    def run(self) -> None:
        todo = self.next()
        while todo:
            todo = self.use_one_connection(todo)

    def use_one_connection(self, todo: str | None) -> str | None:
        """Send over it for as long as it lives; the message that is still to be sent."""
        try:
            with closing(connect(self.port, self.post_office)) as client:
                client.login(PRIMARY, self.app_password)
                while todo:
                    self.send(client, todo)
                    todo = self.next()
        except smtplib.SMTPResponseException as refused:
            self.refusals[refused.smtp_code] += 1
        except (OSError, smtplib.SMTPServerDisconnected):
            self.reconnected += 1
        return todo

    def next(self) -> str | None:
        with self.lock:
            number = next(self.numbers, None)
        return None if number is None else f"<{number}@yourdomain.com>"

    def send(self, client: smtplib.SMTP_SSL, message_id: str) -> None:
        content = f"From: {PRIMARY}\r\nTo: {RECIPIENT}\r\nMessage-ID: {message_id}\r\n\r\nText\r\n"
        for command, wanted in (
            (f"MAIL FROM:<{PRIMARY}>", 250), (f"RCPT TO:<{RECIPIENT}>", 250), ("DATA", 354),
        ):  # fmt: skip
            check(client.docmd(command), wanted)
        client.send(f"{content}.\r\n".encode())
        self.in_doubt.append(message_id)
        check(client.getreply(), 250)
        self.in_doubt.remove(message_id)
        self.accepted.append(message_id)


def check(answer: tuple[int, bytes], wanted: int) -> None:
    if answer[0] != wanted:
        raise smtplib.SMTPResponseException(*answer)


@pytest.fixture
def sender(cluster, post_office, app_password) -> Sender:
    return Sender(cluster.port, post_office, app_password)


def carry_all(sender: Sender, end_a_node) -> Counter[str]:
    """Send everything, and call `end_a_node` on the way; what the server at the end has."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(sender.run) for _ in range(CLIENTS)]
        until(lambda: len(sender.accepted) > ENOUGH, 60)
        end_a_node()
        for client in clients:
            client.result(90)
    assert sorted(sender.accepted) == sorted(f"<{n}@yourdomain.com>" for n in range(MESSAGES))
    return Counter(message["Message-ID"] for message in sender.post_office.captured("ours"))


def sessions(node: Node) -> int:
    return int(node.sample("outgate_sessions") or 0)


def test_a_node_that_is_killed_takes_no_accepted_message_with_it(cluster, sender):
    lost = cluster.nodes[1]

    def kill() -> None:
        assert sessions(lost) > 0
        lost.process.kill()

    captured = carry_all(sender, kill)
    assert sender.reconnected > 0
    assert set(sender.accepted) - set(captured) == set()
    twice = {message_id for message_id, count in captured.items() if count > 1}
    # RFC 1047: between the final dot there and our 250 nobody can know.
    assert twice <= set(sender.in_doubt)
    assert captured.total() <= MESSAGES + len(sender.in_doubt)


def test_a_node_that_is_stopped_leaves_nobody_in_doubt(cluster, sender):
    stopped = cluster.nodes[1]

    def stop() -> None:
        assert sessions(stopped) > 0
        stopped.process.process.terminate()

    captured = carry_all(sender, stop)
    assert stopped.process.process.wait(15) == 0
    assert sender.in_doubt == []
    assert set(sender.refusals) <= {421}
    assert captured == Counter(sender.accepted)
    for each in itertools.chain(cluster.nodes[:1], cluster.nodes[2:]):
        assert each.ask("/readyz")[0] == 200
