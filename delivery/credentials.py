"""The password of a gateway, read anew for each connection and kept nowhere."""

from uuid import UUID

from delivery.link import Link
from sendas.credentials import Binding, CredentialError, Sealed, unseal
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.target import Credential

STATEMENT = """
SELECT refused_at IS NULL AND wiped_at IS NULL,
       send_as_id, host, port, security_mode, username, key_id, ciphertext
  FROM sendas_smtpmsa WHERE credential_id = $1
"""


class GatewayCredentials:
    """Reads them without a thread and Django's models: there is one for each new connection."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self, credential_id: UUID) -> Credential:
        """User name and password, unless they are known not to work.

        Raises SmtpFailure for that, AwayError, and CredentialError where there is none.
        """
        rows = await self._link.fetch(STATEMENT, (credential_id,))
        if not rows:
            raise CredentialError("The gateway was changed or removed.")
        [(works, *binding, key_id, ciphertext)] = rows
        if not works:
            raise SmtpFailure(FailureKind.AUTH_REFUSED, Step.AUTH, permanent=True)
        bound = Binding(*binding)
        return Credential(bound.username, unseal(Sealed(key_id, ciphertext), bound))
