"""What the console's tests write and read."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from accounts.models import OrgUnit, User
from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit
from policies.models import GatewayFailure, PolicyChange, Setting
from policies.services import change_policy
from tests.policies.rows import apply_wave

GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY
ON: dict[str, Any] = {"allowed": True}
OFF: dict[str, Any] = {"allowed": False}
# A value of each other setting, and how pages tell it.
OTHER_SETTINGS: list[tuple[Setting, dict[str, Any], str]] = [
    (
        Setting.GATEWAY_GUARDRAILS,
        {"servers": {"allowed": [], "denied": ["smtp.forbidden.example"]}},
        "not smtp.forbidden.example",
    ),
    (
        Setting.OUTBOUND_GATEWAY,
        {
            "server": {
                "host": "archive.example",
                "port": 25,
                "security_mode": "none",
                "credential_id": None,
            }
        },
        "archive.example:25 without encryption",
    ),
    (
        Setting.GATEWAY_FAILURE,
        {"choice": GatewayFailure.HOLD.value},
        "Hold it and try again",
    ),
]


def save_value(
    *,
    user: User,
    unit: OrgUnit,
    setting: str = GATEWAY,
    value: dict[str, Any] | None = ON,
    based_on: int = 0,
    reason: str = "",
    starts_at: datetime | None = None,
) -> PolicyChange:
    change = change_policy(
        actor=Actor(user),
        unit=unit,
        setting=setting,
        value=value,
        based_on=based_on,
        reason=reason,
        starts_at=starts_at,
    )
    assert change is not None
    return change


def apply_waves(change: PolicyChange, count: int) -> None:
    """Let time pass until the first `count` waves are due, and apply them as a worker does."""
    waves = list(change.waves.order_by("due_at", "cohort"))[:count]
    change.waves.update(due_at=F("due_at") - (waves[-1].due_at - change.starts_at))
    for wave in waves:
        assert apply_wave(wave.pk)


def set_guardrails(user: User, unit: OrgUnit, value: Any) -> None:
    change = change_policy(
        actor=Actor(user),
        unit=unit,
        setting=Setting.GATEWAY_GUARDRAILS,
        value=value,
        based_on=0,
    )
    assert change
    apply_waves(change, 13)


def create_units(parent: OrgUnit, prefix: str) -> list[OrgUnit]:
    """Ten units."""
    return [
        create_unit(actor=SYSTEM, name=f"{prefix} {number}", parent=parent) for number in range(10)
    ]


def create_many_teams(parent: OrgUnit) -> None:
    """250 beside its one child, named Team 2 to Team 251."""
    depth = parent.depth + 1
    OrgUnit.objects.bulk_create(
        OrgUnit(path=OrgUnit._get_path(parent.path, depth, step), depth=depth, name=f"Team {step}")
        for step in range(2, 252)
    )
    OrgUnit.objects.filter(pk=parent.pk).update(numchild=251)


def text_of(response: HttpResponse) -> str:
    """The page as read: without tags, each run of white space one space."""
    html = re.sub(r"</?(a|b)\b[^>]*>", "", response.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def count_queries(run: Callable[[], object]) -> int:
    run()
    with CaptureQueriesContext(connection) as captured:
        run()
    return len(captured)


def assert_refused(response: HttpResponse, words: str, *kept: str) -> None:
    """The form comes again with the words and with what was typed; nothing was saved."""
    assert response.status_code == 200
    assert words in text_of(response)
    html = response.content.decode()
    for typed in kept:
        assert typed in html
    assert not PolicyChange.objects.exists()
