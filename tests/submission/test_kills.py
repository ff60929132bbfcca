"""kill -9 of the service and of PostgreSQL while messages stand at every step of their way.

Each message is a trial: its upstream tells which step it had reached. What a client heard a 250
for is upstream; a second copy exists only of what had its dot when the service died (RFC 1047).
"""

import contextlib
import os
import signal
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from accounts.models import User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user
from delivery.models import Delivery
from tests.processes import until
from tests.submission.conftest import apply_policy
from tests.submission.own_service import OwnService, own_service
from tests.submission.stations import STEPS, Station, station_ports, stations

# Committed is written, whatever becomes of the process: the tests' PostgreSQL is laxer.
WRITTEN = "-c synchronous_commit=on"
ROUNDS = [1, pytest.param(84, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]

pytestmark = pytest.mark.slow


def superuser(services) -> psycopg.Connection:
    return psycopg.connect(
        host=str(services.sockets), user="postgres", dbname="outgate", autocommit=False
    )


def settings_for(ports: list[int]) -> dict[str, str]:
    # At DEBUG the service tells which changes it has heard of.
    level = {"OUTGATE_LOG_LEVEL": "DEBUG"}
    return {"OUTGATE_EGRESS_PORTS": ",".join(map(str, ports)), "PGOPTIONS": WRITTEN} | level


def new_owner(organisation, number: int) -> tuple[User, str]:
    """An account of its own for each round: none sends more than a person would."""
    user = create_user(
        actor=SYSTEM, primary_address=f"user{number}@yourdomain.com", name="User",
        unit=organisation.partner_desk,
    )  # fmt: skip
    apply_policy(user, allowed=True, version=number + 1)
    return user, create_app_password(actor=SYSTEM, user=user, name="Laptop")[1]


@contextlib.contextmanager
def all_at_their_steps(
    services, service: OwnService, password: str, found: list[Station]
) -> Iterator[None]:
    with contextlib.closing(superuser(services)) as holder:
        for station in found:
            if station.step.log_waits:
                holder.execute("LOCK TABLE delivery_delivery IN SHARE MODE")
            station.set_out(service, password)
        assert all(station.has_arrived() for station in found)
        until(lambda: log_waits(services), 5)
        [waiting] = [each.send_as.send_as_email for each in found if each.step.log_waits]
        assert not Delivery.objects.filter(from_address=waiting, account=found[0].send_as.user)
        yield


def log_waits(services) -> int:
    """How many of the log's statements the holder's lock keeps waiting in PostgreSQL."""
    with contextlib.closing(superuser(services)) as root:
        return root.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            " AND relation = 'delivery_delivery'::regclass AND mode = 'RowExclusiveLock'"
        ).fetchone()[0]


def kill_service(service: OwnService, found: list[Station]) -> None:
    """Stopped first, so that one upstream can answer and not be heard."""
    process = service.process.process
    os.killpg(process.pid, signal.SIGSTOP)
    for station in found:
        if station.step.name == "the dot, answer not read":
            station.upstream.release()
            until(lambda upstream=station.upstream: upstream.taken == 1, 5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("rounds", ROUNDS)
def test_killed_at_any_step_the_service_loses_nothing(services, post_office, organisation, rounds):
    ports = station_ports()
    environment = settings_for(ports)
    lost = twice = 0
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(own_service(post_office, **environment))
        for number in range(rounds):
            user, password = new_owner(organisation, number)
            with stations(service, user, ports) as found:
                with all_at_their_steps(services, service, password, found):
                    kill_service(service, found)
                for station in found:
                    station.let_go()
                service = stack.enter_context(own_service(post_office, **environment))
                for station in found:
                    lost += station.heard == 250 and station.upstream.dots == 0
                    check_after_service_died(station, service, password)
                    twice += station.upstream.dots == 2
    trials = rounds * len(STEPS)
    print(f"{trials} trials: {lost} accepted and lost, {twice} sent twice, as RFC 1047 tells")
    assert lost == 0


def check_after_service_died(station: Station, service: OwnService, password: str) -> None:
    step, upstream = station.step, station.upstream
    rows = Delivery.objects.filter(from_address=station.send_as.send_as_email)
    rows = rows.filter(account=station.send_as.user)
    assert station.heard == (250 if step.name == "answered" else None), step.name
    assert upstream.dots == step.dots, step.name
    # None had its final dot without a trace of it.
    assert rows.count() >= upstream.dots, step.name
    if station.heard is None:
        station.send_again(service, password)
    assert upstream.dots == (2 if step.dots and station.heard is None else 1), step.name
    assert len(set(upstream.message_ids)) == 1, step.name
    assert rows.count() >= upstream.dots, step.name


@pytest.mark.parametrize("rounds", ROUNDS)
def test_postgresql_killed_at_any_step_loses_nothing(services, post_office, organisation, rounds):
    ports = station_ports()
    environment = settings_for(ports)
    heard: dict[int | None, int] = {}
    with own_service(post_office, **environment) as service:
        for number in range(rounds):
            user, password = new_owner(organisation, number)
            connections["default"].cursor().execute("SET synchronous_commit TO on")
            user.save()  # what was committed before is written by that
            with stations(service, user, ports) as found:
                with all_at_their_steps(services, service, password, found):
                    kill_postgresql(services)
                for station in found:
                    station.let_go()
                until(services.postgres_answers, 20)
                for station in found:
                    heard[station.heard] = heard.get(station.heard, 0) + 1
                    check_after_postgresql_died(station, service, password)
    print(f"{sum(heard.values())} trials, heard {heard}: 0 accepted and lost, 0 sent twice")


def kill_postgresql(services) -> None:
    """Kill one of the service's backends; PostgreSQL then ends them all and recovers."""
    connections.close_all()
    with contextlib.closing(superuser(services)) as root:
        (backend,) = root.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'outgate_app' LIMIT 1"
        ).fetchone()
        os.kill(backend, signal.SIGKILL)
        until(lambda: not _lives(root), 10)


def _lives(root: psycopg.Connection) -> bool:
    try:
        root.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def check_after_postgresql_died(station: Station, service: OwnService, password: str) -> None:
    step, upstream = station.step, station.upstream
    assert station.heard == 250 or 400 <= (station.heard or 0) < 500, (step.name, station.heard)
    assert upstream.dots == (station.heard == 250), (step.name, station.heard)
    if station.heard != 250:
        station.send_again(service, password)
    assert upstream.dots == 1, step.name
