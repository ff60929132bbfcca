"""`manage.py up` as people run it: real processes, killed in every way."""

import os
import signal
import smtplib
import ssl
import time
import urllib.request
from collections.abc import Iterator

import pytest

from config.installation import leftovers
from tests.config.running import Up, free_ports
from tests.processes import until
from tests.services import DATA_DIR

pytestmark = pytest.mark.slow

# A word of each child's command line by which it is told from the others.
CHILDREN = {
    "postgres": ("bin/postgres",),
    "valkey": ("valkey-server",),
    "demo_mail": ("manage.py", "demo_mail"),
    "submission": ("manage.py", "submission"),
    "worker": ("celery", "worker@"),
    "outbox": ("celery", "outbox@"),
    "beat": ("celery", "beat"),
    "web": ("granian",),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    up = Up(DATA_DIR / "up", free_ports())
    up.start()
    yield up
    up.stop()


def doors_answer(up: Up) -> bool:
    demo = up.demo
    tls = ssl.create_default_context(cafile=demo["ca_file"])
    try:
        with urllib.request.urlopen(demo["base_url"] + "/healthz", timeout=5) as answer:
            assert answer.status == 200
        for door in (demo["submission"], demo["partner"]):
            with smtplib.SMTP(door["host"], door["port"], timeout=5) as client:
                client.starttls(context=tls)
        door = demo["submissions"]
        smtplib.SMTP_SSL(door["host"], door["port"], context=tls, timeout=5).quit()
    except (OSError, smtplib.SMTPException):
        return False
    return True


def test_demo_json_has_what_a_program_needs(running: Up) -> None:
    demo = running.demo
    assert set(demo) == {
        "base_url", "ca_file", "submission", "submissions", "accounts", "partner", "maildirs",
    }  # fmt: skip
    assert demo["base_url"] == f"http://localhost:{running.ports['OUTGATE_HTTP_PORT']}"
    assert demo["submission"].keys() == demo["submissions"].keys() == {"host", "port"}
    assert [each["role"] for each in demo["accounts"]] == [
        "super_admin", "unit_admin", "support", "user", "user",
    ]  # fmt: skip
    for account in demo["accounts"]:
        assert set(account) == {
            "role", "unit", "address", "web_password", "app_password", "totp_secret",
        }  # fmt: skip
        assert account["web_password"]
        assert account["app_password"]
    assert set(demo["partner"]) == {
        "address", "host", "port", "security", "username", "password",
    }  # fmt: skip
    assert running.demo_json.stat().st_mode & 0o077 == 0
    assert demo["base_url"] in running.output
    assert doors_answer(running)


@pytest.mark.parametrize("name", CHILDREN)
def test_a_killed_child_comes_back(running: Up, name: str) -> None:
    killed = running.find(*CHILDREN[name])
    assert killed
    os.kill(killed, signal.SIGKILL)
    until(lambda: running.find(*CHILDREN[name]) not in (None, killed), 15)
    until(lambda: doors_answer(running), 15)
    assert f"{name:<10} | ended (SIGKILL); starting again" in running.output


def test_a_second_copy_in_the_same_folder_is_refused_in_one_line(running: Up) -> None:
    status, error = Up(running.data_dir, free_ports()).refused()
    assert status == 1
    assert error.count("\n") == 1
    assert "OUTGATE_DATA_DIR" in error
    assert running.demo_json.exists()


@pytest.mark.parametrize("variable", ["OUTGATE_HTTP_PORT", "OUTGATE_DEMO_PARTNER_PORT"])
def test_a_taken_port_is_refused_in_one_line(running: Up, variable: str) -> None:
    taken = running.ports[variable]
    other = Up(DATA_DIR / "taken", free_ports() | {variable: taken})
    status, error = other.refused()
    assert status == 1
    assert error.count("\n") == 1
    assert taken in error
    assert variable in error
    assert not (other.data_dir / "engines").exists()


def test_a_port_that_is_no_number_is_refused_in_one_line() -> None:
    up = Up(DATA_DIR / "number", free_ports() | {"OUTGATE_SUBMISSION_PORT": "smtp"})
    status, error = up.refused()
    assert status == 1
    assert error.count("\n") == 1
    assert "OUTGATE_SUBMISSION_PORT" in error
    assert not up.data_dir.exists()


def test_it_stops_and_starts_again_however_it_ended() -> None:
    up = Up(DATA_DIR / "again", free_ports())
    assert up.start() < 30
    first = up.demo

    asked = time.monotonic()
    assert up.send(signal.SIGINT) == 0
    assert time.monotonic() - asked < 10
    assert leftovers(up.data_dir) == []
    assert not up.demo_json.exists()

    up.start()
    assert up.demo == first
    up.send(signal.SIGKILL)
    until(lambda: not leftovers(up.data_dir), 10)

    up.start()
    up.send(signal.SIGKILL)
    # At once, while what the killed one started is still going down.
    up.start()
    assert doors_answer(up)
    up.stop()
    assert leftovers(up.data_dir) == []
