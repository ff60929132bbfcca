"""Fills the outbox, and asks it, as a process with Outgate's settings.

Input: one line {"waiting": number}. Output: {"claims": [seconds for each of 20 claims]}, taken
while all of them wait; afterwards they are due again.
"""

import json
import sys
import time

import django

django.setup()  # before the imports below: they need models (hence E402)

from django.db import transaction  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from accounts.models import Domain  # noqa: E402
from accounts.services.audit import SYSTEM  # noqa: E402
from accounts.services.directory import create_domain, create_unit  # noqa: E402
from accounts.services.people import create_user  # noqa: E402
from bench.people import DOMAIN, RECIPIENT  # noqa: E402
from delivery import queue  # noqa: E402
from delivery.models import OutboxMessage  # noqa: E402
from delivery.outbox import Draft, store_message  # noqa: E402

PEOPLE = 100
CLAIMS = 20
BATCH = 50
BODY = b"".join(b"%04d " % number + b"x" * 70 + b"\r\n" for number in range(12))  # 1 KB in all


def main() -> None:
    waiting = json.loads(sys.stdin.readline())["waiting"]
    create_domain(actor=SYSTEM, name=DOMAIN, kind=Domain.Kind.PRIMARY)
    unit = create_unit(actor=SYSTEM, name=DOMAIN)
    people = [
        create_user(
            actor=SYSTEM, primary_address=f"person{number}@{DOMAIN}", name="Bench", unit=unit
        )
        for number in range(PEOPLE)
    ]
    for start in range(0, waiting, 1000):
        with transaction.atomic():
            for number in range(start, min(start + 1000, waiting)):
                user = people[number % PEOPLE]
                store(user, number)
    print(json.dumps({"claims": claims()}))


def store(user, number: int) -> None:
    header = (
        f"From: {user.primary_address}\r\nTo: {RECIPIENT}\r\nSubject: Bench\r\n"
        f"Date: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{number}@{DOMAIN}>\r\n\r\n"
    )
    draft = Draft(
        "compose", user.pk, user.primary_address, user.primary_address, [RECIPIENT],
        f"<{number}@{DOMAIN}>",
    )  # fmt: skip
    store_message(draft, [header.encode(), BODY])


def claims() -> list[float]:
    seconds = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        queue.claim(BATCH)
        seconds.append(time.perf_counter() - started)
    OutboxMessage.objects.filter(state=OutboxMessage.State.SENDING).update(
        state=OutboxMessage.State.WAITING, next_attempt_at=Now(), attempts=0
    )
    return seconds


if __name__ == "__main__":
    main()
