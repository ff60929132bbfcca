"""The password of a gateway, read anew for each connection and kept nowhere."""

from uuid import UUID

from delivery.link import Link
from sendas.credentials import Binding, CredentialError, Sealed, unseal
from smtp.client import Credential

STATEMENT = """
SELECT send_as_id, host, port, security_mode, username, key_id, ciphertext
  FROM sendas_smtpmsa WHERE credential_id = %s
"""


class GatewayCredentials:
    """Reads them without a thread and Django's models: there is one for each new connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self, credential_id: UUID) -> Credential:
        """User name and password. Raises AwayError, and CredentialError where there is none."""
        rows = await self._link.fetch(STATEMENT, (credential_id,))
        if not rows:
            raise CredentialError("The gateway was changed or removed.")
        [(*binding, key_id, ciphertext)] = rows
        bound = Binding(*binding)
        return Credential(bound.username, unseal(Sealed(key_id, ciphertext), bound))
