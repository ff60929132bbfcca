"""Applies waves and watches open sessions obey them, as a process with Outgate's settings.

Input: one line from bench/obeying.py. Output: one line, a list of seconds, one for each wave.
"""

import json
import random
import smtplib
import ssl
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django

django.setup()  # before the imports below: they need models (hence E402)

from django.db import connection  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from accounts.models import OrgUnit, User  # noqa: E402
from accounts.services.audit import SYSTEM, Actor  # noqa: E402
from accounts.services.roles import assign_role  # noqa: E402
from bench.organisation import make_organisation  # noqa: E402
from bench.people import RECIPIENT, Person  # noqa: E402
from bench.usage import tree  # noqa: E402
from policies.models import AppliedPolicy, Setting  # noqa: E402
from policies.services import apply_waves, change_policy  # noqa: E402

PAUSE = 0.002  # seconds between two messages of a session
SPREAD = (0.1, 0.7)  # seconds between two waves: any moment between two polls of the version
LONGEST = 5.0  # seconds until the bench gives up on a wave
# A message that is under way when a wave comes may hear 451, which counts as its session's error.
AT_A_TIME = 10
TRIES = 100  # connections until each process has one
WORDS = {True: b"taken", False: b"relayed"}  # what the server of the gateway and the relay say


class Session:
    """Sends one message after the other and keeps what the last was answered, and since when."""

    def __init__(self, client: smtplib.SMTP, sender: str) -> None:
        self._client = client
        self._sender = sender
        self._words, self._since = b"", 0.0
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Session":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.quit()

    def _work(self) -> None:
        message = (
            f"From: {self._sender}\r\nTo: {RECIPIENT}\r\nMessage-ID: <0@bench>\r\n\r\nText\r\n"
        )
        while not self._ended.wait(PAUSE):
            self._client.mail(self._sender)
            self._client.rcpt(RECIPIENT)
            _code, text = self._client.data(message)
            # "2.0.0 taken (Outgate ...)"
            words = text.split()[1]
            with self._news:
                if words != self._words:
                    self._words, self._since = words, time.monotonic()
                    self._news.notify_all()

    def first(self, words: bytes) -> float:
        """When the first of those messages was answered that have all been answered so since."""
        with self._news:
            if not self._news.wait_for(lambda: words == self._words, LONGEST):
                raise SystemExit(f"After {LONGEST} s messages are still {self._words.decode()}.")
            return self._since


def sign_in(port: int, ca_file: str, account: str, password: str) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", port, timeout=30)
    client.starttls(context=ssl.create_default_context(cafile=ca_file))
    client.login(account, password)
    return client


def process_of(client: smtplib.SMTP, processes: list[int]) -> int:
    """Which of the processes holds the other end."""
    here, there = client.sock.getsockname()[1], client.sock.getpeername()[1]  # type: ignore[union-attr]
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            ends = [int(end.rpartition(":")[2], 16) for end in fields[1:3]]
            if ends == [there, here]:
                held = f"socket:[{fields[9]}]"
                for process in processes:
                    files = Path(f"/proc/{process}/fd").iterdir()
                    if any(str(each.readlink()) == held for each in files):
                        return process
    raise SystemExit("No submission process holds the connection.")


def session_in_each(wanted: dict[str, Any], account: str, password: str) -> list[smtplib.SMTP]:
    processes = tree([wanted["submission"]])[1:]
    found: dict[int, smtplib.SMTP] = {}
    for _try in range(TRIES):
        client = sign_in(wanted["port"], wanted["ca_file"], account, password)
        if process_of(client, processes) in found:
            client.quit()
        else:
            found[process_of(client, processes)] = client
        if len(found) == wanted["processes"]:
            return list(found.values())
    raise SystemExit(f"{TRIES} connections reached {len(found)} processes.")


def wave(admin: User, version: int, *, allowed: bool) -> float:
    """Save a value and apply it to everybody; the moment before that is sent."""
    change = change_policy(
        actor=Actor(admin),
        unit=OrgUnit.objects.get(),
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": allowed},
        based_on=version,
    )
    if change is None:
        raise SystemExit("The unit had that value already.")
    change.waves.update(due_at=Now())
    waves = list(change.waves.values_list("pk", flat=True))
    started = time.monotonic()
    apply_waves(waves)
    return started


def measure(wanted: dict[str, Any]) -> list[float]:
    [person] = [Person(**each) for each in wanted["people"]]
    app_passwords = make_organisation([person], wanted["ports"])
    AppliedPolicy.objects.all().delete()  # its versions are to be those of saved changes
    admin = User.objects.get()
    assign_role(actor=SYSTEM, user=admin, role="super_admin")
    versions = range(wanted["waves"] + 1)
    seconds = []
    for first in range(0, len(versions), AT_A_TIME):
        clients = session_in_each(wanted, person.account, app_passwords[person.account])
        with ExitStack() as stack:
            sessions = [stack.enter_context(Session(each, person.address)) for each in clients]
            for version in versions[first : first + AT_A_TIME]:
                allowed = version % 2 == 0
                started = wave(admin, version, allowed=allowed)
                obeyed = max(session.first(WORDS[allowed]) for session in sessions)
                seconds.append(obeyed - started)
                time.sleep(random.uniform(*SPREAD))  # noqa: S311  (no secret)
    return seconds[1:]  # without the first, which opens the connections to the servers


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.stdin.readline()))))
    connection.close()
