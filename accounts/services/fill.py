"""A database of a given size, to measure and try things at scale: made-up units and accounts.

Rows are what the services would have written, but copied in bulk: a million accounts one by one
would take hours. What is filled in stands in the audit as one event.
"""

import secrets
import uuid
from collections.abc import Callable, Iterator
from itertools import islice

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from accounts.models import Domain, OrgUnit, User
from accounts.models.people import cohort_count, home_cohort
from accounts.services.audit import SYSTEM, record_event
from accounts.services.directory import create_domain, create_unit, lock_addresses, lock_tree

DOMAIN = "filled.example"
UNITS_BESIDE = 25  # about as many as an organisation keeps side by side
CHUNK = 50_000
COLUMNS = "id, password, primary_address, name, unit_id, cohort, suspended, session_generation"
Report = Callable[[int], None]


def is_empty() -> bool:
    """Whether nobody real is in here: a fill may go into such a database without being asked."""
    return not User.objects.exists()


def fill_accounts(*, accounts: int, units: int, report: Report) -> None:
    """Add so many units (the topmost of them included) and accounts, evenly spread over them.

    Calls `report` with the number of accounts written so far. Raise ValidationError where the
    database was filled before.
    """
    if Domain.objects.filter(name=DOMAIN).exists():
        raise ValidationError(_("This database was filled before. Take an empty one."))
    primary = Domain.objects.filter(kind=Domain.Kind.PRIMARY).exists()
    kind = Domain.Kind.SECONDARY if primary else Domain.Kind.PRIMARY
    create_domain(actor=SYSTEM, name=DOMAIN, kind=kind)
    ids = _make_units(units)
    _copy_accounts(accounts, ids, report)
    record_event(SYSTEM, "database_filled", DOMAIN, accounts=accounts, units=units)


def _make_units(count: int) -> list[int]:
    """Level by level, each unit with up to UNITS_BESIDE below it."""
    with transaction.atomic():
        root = OrgUnit.objects.get_root_nodes().first()
        top = create_unit(actor=SYSTEM, name=DOMAIN, parent=root)
        lock_tree()
        made, children = [top], _children(top)
        while len(made) < count:
            level = list(islice(children, count - len(made)))
            OrgUnit.objects.bulk_create(level, batch_size=1000)
            made += level
            children = (child for parent in level for child in _children(parent))
        _set_children(made)
    return [unit.pk for unit in made]


def _children(parent: OrgUnit) -> Iterator[OrgUnit]:
    for step in range(1, UNITS_BESIDE + 1):
        path = OrgUnit._get_path(parent.path, parent.depth + 1, step)
        name = f"Unit {step}" if parent.name == DOMAIN else f"{parent.name}.{step}"
        yield OrgUnit(path=path, depth=parent.depth + 1, numchild=0, name=name)


def _set_children(units: list[OrgUnit]) -> None:
    below: dict[str, int] = {}
    for unit in units:
        parent = unit.path[: -OrgUnit.steplen]
        below[parent] = below.get(parent, 0) + 1
    for unit in units:
        unit.numchild = below.get(unit.path, 0)
    OrgUnit.objects.bulk_update(units, ["numchild"], batch_size=500)


def _copy_accounts(count: int, unit_ids: list[int], report: Report) -> None:
    # Asked for before: while a COPY runs, its connection answers nothing else.
    rows = _rows(count, unit_ids, cohort_count())
    for start in range(0, count, CHUNK):
        with transaction.atomic(), connection.cursor() as cursor:
            lock_addresses()
            with cursor.copy(f"COPY accounts_user ({COLUMNS}) FROM STDIN") as copy:
                for row in islice(rows, CHUNK):
                    copy.write_row(row)
        report(min(start + CHUNK, count))


def _rows(count: int, unit_ids: list[int], cohorts: int) -> Iterator[tuple[object, ...]]:
    password = make_password(None)  # opens nothing, as every password that begins so
    for number in range(1, count + 1):
        user_id = uuid.UUID(bytes=secrets.token_bytes(16), version=4)
        yield (
            user_id,
            password,
            f"person{number:07}@{DOMAIN}",
            f"Person {number}",
            unit_ids[number % len(unit_ids)],
            home_cohort(user_id, cohorts),
            False,
            0,
        )
