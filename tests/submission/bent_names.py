"""A program for a network of its own, in which a name server bends the name of a person's server.

python -m tests.submission.bent_names user@example.com "app password" FOLDER

The gateway of the account's one send-as address is smtp.partnerdomain.com:465. The program says
what came of each test of the connection and of each message, as JSON; see test_bent_names.py.
"""

import contextlib
import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import django

from tests.submission.name_server import NameServer
from tests.submission.upstream import Upstream

PUBLIC = "198.41.0.4"
HOST = "smtp.partnerdomain.com"
RECIPIENT = "claire@customer.example"
# What a name is bent to: each must be refused, whatever stands beside it.
BENT = {
    "loopback": [["127.0.0.1"]],
    "public and loopback": [[PUBLIC, "127.0.0.1"]],
    "loopback and public": [["127.0.0.1", PUBLIC]],
    "public and ::1": [[PUBLIC, "::1"]],
    "public and a mapped one": [[PUBLIC, "::ffff:127.0.0.1"]],
    "private": [["10.0.0.1"]],
    "unspecified": [["0.0.0.0"]],
    "no such name": [[]],
}
REBOUND = [[PUBLIC], ["127.0.0.1"]]


class Canary:
    """Listens where nobody may connect, and counts."""

    def __init__(self) -> None:
        self.connections = 0
        for host in ("127.0.0.1", "10.0.0.1", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, 465), family=family)
            Thread(target=self._count, args=[listener], daemon=True).start()

    def _count(self, listener: socket.socket) -> None:
        while True:
            listener.accept()[0].close()
            self.connections += 1


def make_network(folder: Path) -> None:
    """Loopback, a public address and a private one on it, and our resolver."""
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"],
        ["ip", "address", "add", "10.0.0.1/32", "dev", "lo"],
        ["mount", "--bind", str(resolver), "/etc/resolv.conf"],
    ):
        subprocess.run(command, check=True)


@contextlib.contextmanager
def service() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "manage.py", "submission"])
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", 1465), 1).close()
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


def try_connections(names: NameServer, login: str) -> dict[str, str]:
    from accounts.models import User
    from sendas.models import ConnectionTest
    from sendas.services.connection import (
        ConnectionTestError,
        GatewaySettings,
        check_connection,
    )

    user = User.objects.get(primary_address=login)
    said = {}
    for name, script in {"public": [[PUBLIC]], "rebound": REBOUND, **BENT}.items():
        ConnectionTest.objects.all().delete()  # more than a person makes in an hour
        names.script = [list(answers) for answers in script]
        try:
            check_connection(
                user=user,
                address="user.name@partnerdomain.com",
                gateway=GatewaySettings(HOST, 465, "ssl", "user", "secret"),
            )
            said[name] = "passed"
        except ConnectionTestError as error:
            said[name] = error.step.name
    return said


def send_messages(names: NameServer, login: str, password: str, folder: Path) -> dict[str, int]:
    tls = ssl.create_default_context(cafile=folder / "ca.pem")
    heard = {}
    message = f"From: user.name@partnerdomain.com\r\nTo: {RECIPIENT}\r\n\r\nText\r\n"
    with service(), smtplib.SMTP_SSL("localhost", 1465, context=tls, timeout=60) as client:
        client.login(login, password)
        for name, script in {"public": [[PUBLIC]], **BENT, "rebound": REBOUND}.items():
            names.script = [list(answers) for answers in script]
            # A server that has gone away meanwhile: what the pool kept is of no use, and the
            # message is tried again on a connection of its own.
            with partner(folder):
                client.mail(login)
                client.rcpt(RECIPIENT)
                heard[name] = client.data(message)[0]
    return heard


def partner(folder: Path) -> Upstream:
    return Upstream(465, (folder / "server.pem", folder / "key.pem"), host=PUBLIC)


def main(login: str, password: str, certificates: str) -> None:
    folder = Path(certificates)
    make_network(folder)
    os.environ.pop("OUTGATE_EGRESS_NETWORKS", None)
    django.setup()
    canary = Canary()
    with NameServer() as names:
        with partner(folder):
            tests = try_connections(names, login)
        messages = send_messages(names, login, password, folder)
    report = {"tests": tests, "messages": messages, "canary": canary.connections}
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
