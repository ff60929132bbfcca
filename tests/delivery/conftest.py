from collections.abc import Iterator

import pytest

from sendas import upstream
from tests.delivery.mail_server import MailServer, mail_server
from tests.sendas.conftest import allowed, authority, open_ports, partner, trusted

__all__ = ["allowed", "authority", "open_ports", "partner", "trusted"]


@pytest.fixture
def relay(settings) -> Iterator[MailServer]:
    """The organisation's relay, scripted."""
    with mail_server() as server:
        settings.OUTGATE_RELAY_URL = f"smtp://127.0.0.1:{server.port}"
        upstream.relay.cache_clear()
        yield server
    upstream.relay.cache_clear()
