"""The service's certificate, taken up again when its files change."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5.0


class Certificate:
    """What new handshakes show. Files that are of no use change nothing, and are complained of."""

    def __init__(self, chain: str, key: str) -> None:
        """Raises OSError (ssl.SSLError is one) where the files are of no use at the start."""
        self._files = (chain, key)
        self._seen = self._look()
        self.context, self.expires = self._load()

    def reload(self) -> bool:
        """Read the files again; whether `context` is another one now."""
        # Before reading: what is written meanwhile is found by the next look.
        self._seen = self._look()
        try:
            self.context, self.expires = self._load()
        except (OSError, ValueError) as error:
            logger.error("The new certificate is of no use, the old one stays: %s", error)
            return False
        logger.info("New certificate, until %s", self.expires)
        return True

    def reload_if_changed(self) -> bool:
        return self._look() != self._seen and self.reload()

    async def watch(self, use: Callable[[ssl.SSLContext], None]) -> None:
        """Hand each new context to `use`, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            if self.reload_if_changed():
                use(self.context)

    def _load(self) -> tuple[ssl.SSLContext, datetime]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        own = x509.load_pem_x509_certificate(Path(self._files[0]).read_bytes())
        return context, own.not_valid_after_utc

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What changes when the files do; a file may be away while it is replaced."""
        return [_stamp(Path(file)) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
