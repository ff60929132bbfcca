"""The audit as CSV and JSON, line by line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from accounts.models import AuditEvent
from console.csv_file import csv_lines
from policies.reports import reported

HEADING = (
    "time", "actor", "network_address", "event", "type", "name", "unit", "target", "old_value",
    "new_value", "details",
)  # fmt: skip


def event_lines(events: Iterable[AuditEvent]) -> Iterator[str]:
    """One line for each event; of a setting's two names the first."""
    return csv_lines(HEADING, (_cells(event) for event in events))


def _cells(event: AuditEvent) -> Iterator[str]:
    named = reported(event)[0]
    details = {key: value for key, value in event.details.items() if key not in {"old", "new"}}
    yield event.at.isoformat()
    yield event.actor_address
    yield event.client_ip or ""
    yield event.name
    yield named.type
    yield named.name
    yield event.unit_path
    yield event.target
    yield named.parameters.get("OLD_VALUE", "")
    yield named.parameters.get("NEW_VALUE", "")
    yield json.dumps(details, ensure_ascii=False) if details else ""


def json_lines(events: Iterable[AuditEvent]) -> Iterator[str]:
    """A list of activities in the shape of Google's Reports API, one a line."""
    before = "[\n"
    for event in events:
        yield before + json.dumps(activity(event), ensure_ascii=False)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def activity(event: AuditEvent) -> dict[str, Any]:
    return {
        "kind": "admin#reports#activity",
        "id": {
            "time": event.at.isoformat(),
            "uniqueQualifier": str(event.pk),
            "applicationName": "admin",
        },
        "actor": {"email": event.actor_address},
        "ipAddress": event.client_ip or "",
        "events": [
            {
                "type": each.type,
                "name": each.name,
                "parameters": [
                    {"name": name, "value": value} for name, value in each.parameters.items()
                ],
            }
            for each in reported(event)
        ],
    }
