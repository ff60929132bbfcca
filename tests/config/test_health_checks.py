"""Whether a web process is ready."""

import os
import subprocess

import psycopg
import pytest

from tests.processes import CHECKOUT, MANAGE


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
