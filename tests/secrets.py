"""Looking for secrets where none may be: in every spelling that could be turned back."""

import base64
from collections.abc import Iterable, Mapping
from threading import Thread
from urllib.parse import quote

import redis
from django.conf import settings
from django.db import connection


def spellings(secret: str) -> Iterable[bytes]:
    """Plain, hexadecimal, as in a URL, and in base64 wherever it may begin within three octets."""
    octets = secret.encode()
    yield octets
    yield octets.hex().encode()
    yield quote(secret, safe="").encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + octets)
        # Without the letters that also depend on what stands before or behind.
        yield encoded[4 if shift else 0 : -4]


def found_in(octets: bytes, secrets: Mapping[str, str]) -> list[str]:
    """The names of those secrets that stand there."""
    return [
        name
        for name, secret in secrets.items()
        if any(form in octets for form in spellings(secret))
    ]


def database_dump() -> bytes:
    """Every row of every table that the application can read, as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT entry::text FROM "{table}" entry')
            rows += [f"{table}: {row[0]}" for row in cursor.fetchall()]
    return "\n".join(rows).encode()


class Broker:
    """What goes through Redis while it is watched, and what lies there: task arguments as well."""

    def __enter__(self) -> "Broker":
        self._client = redis.Redis.from_url(
            settings.CELERY_BROKER_URL.replace("redis+socket", "unix")
        )
        self._lines: list[bytes] = []
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.ping()
        self._client.publish("watched", "the end")
        self._thread.join(10)
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _watch(self) -> None:
        for entry in self._monitor.listen():
            self._lines.append(repr(entry).encode())
            if "watched" in entry["command"]:
                return

    @property
    def seen(self) -> bytes:
        # DUMP's form compresses, so the values are asked for by their kind.
        kept = []
        for key in self._client.scan_iter("*"):
            kind = self._client.type(key)
            if kind == b"list":
                kept += self._client.lrange(key, 0, -1)
            elif kind == b"hash":
                kept += self._client.hgetall(key).values()
            elif kind == b"string":
                kept.append(self._client.get(key))
        return b"\n".join([*self._lines, *kept])
