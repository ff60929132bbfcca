"""Whole messages from our client to aiosmtpd and to our own server, on both event loops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from smtp.failure import FailureKind, SmtpFailure
from smtp.reply import Reply
from smtp.target import Credential, Security
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import CONTENT, connected
from tests.smtp.fakes import PASSWORD, Recorder, serving


class Mailbox:
    def __init__(self) -> None:
        self.envelopes: list = []

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 2.0.0 stored"


def _authenticate(server, session, envelope, mechanism, data) -> AuthResult:
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@contextlib.asynccontextmanager
async def aiosmtpd_running(
    mailbox: Mailbox, authority: Authority, security: Security, excluded: str
) -> AsyncIterator[int]:
    starttls = security is Security.STARTTLS
    context = authority.server_context()

    def factory() -> SMTP:
        return SMTP(
            mailbox,
            hostname="partner.example",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=True,
            auth_require_tls=starttls,
            authenticator=_authenticate,
            auth_exclude_mechanism=[excluded],
        )

    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", 0, ssl=None if starttls else context
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.SSL])
@pytest.mark.parametrize("excluded", ["LOGIN", "PLAIN"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # aiosmtpd, of implicit TLS
def test_a_message_reaches_aiosmtpd(
    run: Run, authority: Authority, security: Security, excluded: str
) -> None:
    async def dialogue() -> None:
        mailbox = Mailbox()
        async with aiosmtpd_running(mailbox, authority, security, excluded) as port:
            async with connected(port, authority, security) as connection:
                assert connection.tls_version == "TLSv1.3"
                for _ in range(2):
                    await connection.start_message(
                        "user.name@partner.example",
                        ["a@example.net", "b@example.net"],
                        body="8BITMIME",
                    )
                    await connection.write(CONTENT)
                    assert await connection.finish() == Reply(250, "2.0.0", "stored")
                    assert connection.reusable
                await connection.quit()
                assert not connection.reusable
            with pytest.raises(SmtpFailure) as caught:
                async with connected(port, authority, security, Credential("user", "wrong-canary")):
                    pass
            assert caught.value.kind is FailureKind.AUTH_REFUSED
            assert caught.value.permanent
        assert [one.mail_from for one in mailbox.envelopes] == ["user.name@partner.example"] * 2
        assert mailbox.envelopes[0].rcpt_tos == ["a@example.net", "b@example.net"]
        assert mailbox.envelopes[0].content == CONTENT.replace(b"..", b".")

    run(dialogue())


def test_client_and_server_fit_each_other(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        body = b"..dot\r\n" + b"x" * 76 + b"\r\n"
        async with (
            serving(handler, authority.server_context()) as (_, port),
            connected(port, authority) as connection,
        ):
            assert connection.size_limit == 36_700_160
            await connection.start_message("", ["a@example.net"], size=70_000)
            await connection.write(b"From: user@example.com\r\n\r\n")
            for _ in range(5000):
                await connection.write(body)
            assert (await connection.finish()).code == 250
            assert (await connection.rset()).code == 250
        assert handler.messages[0].body == body * 5000
        assert handler.messages[0].envelope.size == 70_000

    run(dialogue())
