"""Signing in to people's servers without ever trying a wrong password twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from django.db import Error as DatabaseError

from delivery.database import Database
from delivery.routing import Route
from sendas.services.breaker import (
    CLAIM_SECONDS,
    claim_credential,
    load_usable_credential,
    note_sign_in,
    record_refusal,
    release_claim,
    renew_claim,
)
from sendas.upstream import open_gateway
from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.target import Credential, Timeouts

logger = logging.getLogger(__name__)

# For so long after a sign-in nobody asks whether the password still works. Within it, a password
# that is changed can be tried once by each connection that is being opened at that moment.
TRUSTED_SECONDS = 10.0
ATTEMPT_SECONDS = 50.0
WAIT_SECONDS = 30.0  # for an attempt of another process: longer than the claim of a dead one holds
ASK_AGAIN_SECONDS = 0.1
RENEW_SECONDS = CLAIM_SECONDS / 5  # and one that PostgreSQL does not answer in time may fail


class GatewaySignIns:
    """Opens connections of gateways. Belongs to one event loop.

    Where the password was not taken here just now, one attempt is made at a time: in this process
    the others wait for its end, and share its failure; between processes PostgreSQL says who it is.
    """

    def __init__(
        self,
        database: Database,
        *,
        load: Callable[[UUID], Awaitable[Credential]] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """`load`: a faster way to what `load_usable_credential` returns."""
        self._database = database
        self._load = load or self._load_usable
        self._timeouts = timeouts
        self._trusted: set[UUID] = set()
        self._attempts: dict[UUID, asyncio.Task[Connection]] = {}

    async def open(self, route: Route, credential_id: UUID) -> Connection:
        """A refusal is on record when this raises it, unless the database is away by then.

        Raises SmtpFailure, SmtpMsa.DoesNotExist, CredentialError, and what the database does.
        """
        while credential_id not in self._trusted:
            attempt = self._attempts.get(credential_id)
            if attempt is None:
                return await self._go_first(route, credential_id)
            await asyncio.wait([attempt])
            if isinstance(failure := attempt.exception(), SmtpFailure):
                raise failure.again()
        credential = await self._load(credential_id)
        try:
            return await self._sign_in(route, credential)
        except SmtpFailure as failure:
            if is_refusal(failure):
                self._trusted.discard(credential_id)
                await self._record(credential_id, failure)
            raise

    async def _go_first(self, route: Route, credential_id: UUID) -> Connection:
        """Whatever becomes of the one who asked first, the attempt comes to its end."""
        attempt = asyncio.create_task(self._try_alone(route, credential_id))
        self._attempts[credential_id] = attempt
        attempt.add_done_callback(lambda _: self._attempts.pop(credential_id))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(_close_unwanted)
            raise

    async def _try_alone(self, route: Route, credential_id: UUID) -> Connection:
        credential = await self._claim(credential_id)
        renewing = asyncio.create_task(self._renew(credential_id))
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                connection = await self._sign_in(route, credential)
        except BaseException as error:
            # At the end of the service, too: the next one need not wait until the claim runs out.
            if isinstance(error, SmtpFailure) and is_refusal(error):
                await self._record(credential_id, error)
            else:
                await self._note(release_claim, credential_id)
            if isinstance(error, TimeoutError):
                raise SmtpFailure(FailureKind.TIMEOUT, Step.AUTH) from None
            raise
        finally:
            renewing.cancel()
        self._trusted.add(credential_id)
        asyncio.get_running_loop().call_later(TRUSTED_SECONDS, self._trusted.discard, credential_id)
        try:
            await self._note(note_sign_in, credential_id)
        except asyncio.CancelledError:
            connection.abort()
            raise
        return connection

    async def _claim(self, credential_id: UUID) -> Credential:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if credential := await self._database(claim_credential, credential_id):
                return credential
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        raise SmtpFailure(FailureKind.TIMEOUT, Step.POOL)

    async def _renew(self, credential_id: UUID) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._note(renew_claim, credential_id)

    async def _sign_in(self, route: Route, credential: Credential) -> Connection:
        return await open_gateway(
            route.server, credential, least_tls=route.least_tls, timeouts=self._timeouts
        )

    async def _load_usable(self, credential_id: UUID) -> Credential:
        return await self._database(load_usable_credential, credential_id)

    async def _record(self, credential_id: UUID, failure: SmtpFailure) -> None:
        try:
            await self._database(
                record_refusal, credential_id=credential_id, reply=str(failure.reply)
            )
        except (DatabaseError, TimeoutError) as error:
            logger.error("A refused password could not be recorded: %s", type(error).__name__)

    async def _note(self, note: Callable[[UUID], None], credential_id: UUID) -> None:
        try:
            await self._database(note, credential_id)
        except (DatabaseError, TimeoutError) as error:  # the claim runs out by itself
            logger.warning("A sign-in's claim is not noted: %s", type(error).__name__)


def is_refusal(failure: SmtpFailure) -> bool:
    """Whether the server said for good that it does not take the password."""
    return failure.kind == FailureKind.AUTH_REFUSED and failure.permanent


def _close_unwanted(attempt: asyncio.Task[Connection]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()
