"""Whether a web process is ready."""

import os
import subprocess

import psycopg
import pytest

from tests.processes import CHECKOUT, MANAGE
from tests.silent import silent_host, silent_pooler, stopped_postgresql


def test_web_is_ready(client, db):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.slow
@pytest.mark.parametrize(("path", "status"), [("/readyz", "not ready"), ("/healthz", "not well")])
def test_web_says_that_postgresql_is_silent(client, db, services, path, status):
    with stopped_postgresql(services):
        answer = client.get(path)
    expected = {"status": status, "troubles": ["PostgreSQL does not answer."]}
    assert (answer.status_code, answer.json()) == (503, expected)
    assert client.get(path).status_code == 200


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
@pytest.mark.parametrize("host", [silent_host, silent_pooler])
def test_web_is_not_ready_while_postgresql_says_nothing(django_db_setup, host):
    with host() as port:
        url = f"postgres://nobody@127.0.0.1:{port}/none"
        assert troubles(DATABASE_URL=url) == "PostgreSQL does not answer."


@pytest.mark.slow
def test_web_is_not_ready_before_the_migrations(services):
    host = str(services.sockets)
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as root:
        root.execute("CREATE DATABASE empty")
    url = os.environ["DATABASE_URL"].replace("/outgate?", "/empty?")
    assert "migrate" in troubles(DATABASE_URL=url)
