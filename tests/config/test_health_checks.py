"""What tells whether web, worker and beat are well, by the commands of docs/operations.md."""

import os
import re
import subprocess

import psycopg
import pytest

from tests.processes import BEAT, CELERY, CHECKOUT, MANAGE, WORKER, running, until


def commands() -> dict[str, str]:
    """The check of each process, as docs/operations.md has it."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    found = re.findall(r"^\| (worker|beat) \| `([^`]+)`", page.split("## Health")[1], re.MULTILINE)
    # In a table a bar has to be escaped.
    return {name: command.replace("\\|", "|") for name, command in found}


def is_well(command: str, **environment: str) -> bool:
    celery = " ".join(CELERY).removesuffix(" --app config")
    done = subprocess.run(
        ["bash", "-c", command.replace("celery ", f"{celery} ", 1)],
        cwd=CHECKOUT, env=os.environ | environment, timeout=60, capture_output=True,
    )  # fmt: skip
    return done.returncode == 0


def test_web_is_ready(client, db):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def troubles(**environment: str) -> str:
    program = "from config.health import find_troubles; print(*find_troubles())"
    told = subprocess.run(
        [*MANAGE, "shell", "-v", "0", "-c", program],
        cwd=CHECKOUT, env=os.environ | environment, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "url", "trouble"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1", "Redis does not answer."),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none", "PostgreSQL does not answer."),
    ],
)
def test_web_is_not_ready_while_one_of_them_is_away(django_db_setup, name, url, trouble):
    assert troubles(**{name: url}) == trouble


@pytest.mark.slow
def test_web_is_not_ready_before_the_migrations(services):
    host = str(services.sockets)
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as root:
        root.execute("CREATE DATABASE empty")
    url = os.environ["DATABASE_URL"].replace("/outgate?", "/empty?")
    assert "migrate" in troubles(DATABASE_URL=url)


@pytest.mark.slow
def test_beat_shows_that_it_lives(services, tmp_path):
    data = {"OUTGATE_DATA_DIR": str(tmp_path)}
    assert not is_well(commands()["beat"], **data)
    with running("beat", BEAT, data):
        until(lambda: is_well(commands()["beat"], **data), 20)
        os.utime(tmp_path / "beat-alive", (0, 0))
        assert not is_well(commands()["beat"], **data)
        until(lambda: is_well(commands()["beat"], **data), 20)


@pytest.mark.slow
def test_beat_that_reaches_no_redis_shows_none(services, tmp_path):
    environment = {"OUTGATE_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1"}
    with running("beat-alone", BEAT, environment) as beat:
        beat.wait_for("Connection refused|Cannot connect|Error 111")
        assert not is_well(commands()["beat"], **environment)


@pytest.mark.slow
def test_the_worker_answers(services, transactional_db):
    name = {"HOSTNAME": "here"}
    assert not is_well(commands()["worker"], **name)
    with running("worker", [*WORKER, "--hostname", "celery@here"]) as worker:
        worker.wait_for("ready.")
        assert is_well(commands()["worker"], **name)
