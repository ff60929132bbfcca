"""No octet of AUTH goes to a server that is not beyond doubt."""

import asyncio
import socket
import ssl

import pytest

from smtp.failure import FailureKind, SmtpFailure
from smtp.sign_on import connect
from smtp.target import Security, Server
from smtp.tls import ClientContext
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import connected, failure_of, no_auth
from tests.smtp.fakes import Stage


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.SSL])
@pytest.mark.parametrize("fault", ["self-signed", "wrong name", "expired"])
def test_no_auth_byte_with_a_bad_certificate(
    run: Run,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    security: Security,
    fault: str,
) -> None:
    if fault == "self-signed":
        context = Authority(tmp_path_factory.mktemp("stranger")).server_context()
    elif fault == "wrong name":
        context = authority.server_context(names=("other.example",))
    else:
        context = authority.server_context(expired=fault == "expired")
    expected = {
        "self-signed": FailureKind.CERTIFICATE_UNKNOWN,
        "wrong name": FailureKind.CERTIFICATE_NAME,
        "expired": FailureKind.CERTIFICATE_EXPIRED,
    }[fault]

    async def play(stage: Stage) -> None:
        if security is Security.STARTTLS:
            await stage.hello("STARTTLS", "AUTH PLAIN")
            await stage.line()
            stage.say("220 go on")
        await stage.start_tls(context)
        await stage.hello("AUTH PLAIN")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority, security=security)
        assert failure.kind is expected
        assert failure.permanent
        no_auth(heard)

    run(dialogue())


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def serve_old_tls(
    listener: socket.socket, context: ssl.SSLContext, security: Security, heard: list[bytes]
) -> None:
    """A blocking server, for asyncio closes before its alert about the version has left."""
    client, _ = listener.accept()
    with client:
        if security is Security.STARTTLS:
            client.sendall(b"220 partner.example\r\n")
            heard.append(client.recv(1000))
            client.sendall(b"250-partner.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
            heard.append(client.recv(1000))
            client.sendall(b"220 go on\r\n")
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_side=True, suppress_ragged_eofs=True)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.SSL])
def test_no_auth_byte_over_tls_1_1(run: Run, authority: Authority, security: Security) -> None:
    heard: list[bytes] = []
    context = old_tls(authority.server_context())

    async def dialogue(listener: socket.socket) -> None:
        serving_it = asyncio.to_thread(serve_old_tls, listener, context, security, heard)
        task = asyncio.create_task(serving_it)
        with pytest.raises(SmtpFailure) as caught:
            async with connected(listener.getsockname()[1], authority, security):
                pass
        assert caught.value.kind is FailureKind.TLS_VERSION
        assert caught.value.permanent
        await task

    with socket.create_server(("127.0.0.1", 0)) as listener:
        run(dialogue(listener))
    no_auth(b"".join(heard))


def test_no_auth_byte_when_starttls_was_stripped(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("AUTH PLAIN LOGIN")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority)
        assert failure.kind is FailureKind.TLS_NOT_OFFERED
        no_auth(heard)

    run(dialogue())


@pytest.mark.parametrize("later", [False, True], ids=["with the 220", "just behind it"])
def test_injected_plaintext_is_never_used(run: Run, authority: Authority, later: bool) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("STARTTLS")
        await stage.line()
        injected = ["250-partner.example", "250 AUTH PLAIN"]
        stage.say("220 go on", *([] if later else injected))
        if later:
            await stage.writer.drain()
            stage.say(*injected)
        await stage.rest()

    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority)
        assert failure.kind in (FailureKind.CONNECTION_LOST, FailureKind.NOT_A_MAIL_SERVER)
        no_auth(heard)

    run(dialogue())


def test_what_was_offered_before_tls_does_not_count_after_it(
    run: Run, authority: Authority
) -> None:
    context = authority.server_context()

    async def play(stage: Stage) -> None:
        await stage.hello("STARTTLS", "AUTH PLAIN")
        await stage.line()
        stage.say("220 go on")
        await stage.start_tls(context)
        await stage.answer_hello("SIZE 5")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority)
        assert failure.kind is FailureKind.AUTH_NOT_OFFERED
        no_auth(heard.partition(b"EHLO")[2].partition(b"EHLO")[2])

    run(dialogue())


def test_a_context_that_verifies_nothing_is_not_taken(run: Run, authority: Authority) -> None:
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="verify"):
        run(
            connect(
                Server("localhost", 1, Security.SSL),
                guard=None,
                tls=context,
                hostname="mail.example.com",
            )
        )
