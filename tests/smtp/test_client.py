"""Our client against scripted servers, aiosmtpd and our own server, on both event loops."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from smtp.client import (
    Connection,
    Credential,
    FailureKind,
    Security,
    Server,
    SmtpFailure,
    Step,
    Timeouts,
    connect,
)
from smtp.egress import EgressGuard
from smtp.reply import Reply
from smtp.tls import ClientContext
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import PASSWORD, Play, Recorder, Stage, playing, serving

CREDENTIAL = Credential("user.name@partner.example", PASSWORD)
QUICK = Timeouts(connect=1, command=1, content=1, final=1)
CONTENT = b"From: user@example.com\r\n\r\n..text\xff\r\n"


@contextlib.asynccontextmanager
async def connected(
    port: int,
    authority: Authority,
    security: Security = Security.STARTTLS,
    credential: Credential | None = CREDENTIAL,
    host: str = "localhost",
    tls: ClientContext | None = None,
) -> AsyncIterator[Connection]:
    connection = await connect(
        Server(host, port, security),
        credential=credential,
        guard=None,
        tls=tls or authority.client_context(),
        hostname="mail.example.com",
        timeouts=QUICK,
    )
    try:
        yield connection
    finally:
        connection.abort()


async def failure_of(*plays: Play, authority: Authority, **options) -> tuple[SmtpFailure, bytes]:
    """How connecting fails, and what the server has heard by then."""
    async with playing(*plays) as theatre:
        with pytest.raises(SmtpFailure) as caught:
            async with connected(theatre.port, authority, **options):
                pass
        await asyncio.sleep(0.05)
        return caught.value, theatre.heard


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


# No AUTH byte towards a server that is not beyond doubt


def no_auth(heard: bytes) -> None:
    assert b"AUTH" not in heard
    assert PASSWORD.encode() not in heard


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


# Where a guard lets it go


class Resolver:
    """A resolver that says loopback, and what was asked of it."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        return self.answers


async def guarded(port: int, guard: EgressGuard, authority: Authority) -> str:
    connection = await connect(
        Server("Smtp.Partner.Example", port, Security.SSL),
        guard=guard,
        tls=authority.client_context(),
        hostname="mail.example.com",
        timeouts=QUICK,
    )
    connection.abort()
    return connection.peer


def test_the_name_is_looked_up_once_and_is_what_the_certificate_must_carry(
    authority: Authority,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello()

    async def dialogue() -> None:
        context = authority.server_context(names=("smtp.partner.example",))
        resolver = Resolver("127.0.0.1")
        async with playing(play, tls=context) as theatre:
            guard = EgressGuard([ip_network("127.0.0.0/8")], {theatre.port}, resolver)
            assert await guarded(theatre.port, guard, authority) == "127.0.0.1"
            assert resolver.asked == ["smtp.partner.example"]

    asyncio.run(dialogue())


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], []])
def test_a_refused_name_is_never_connected_to(authority: Authority, answers: list[str]) -> None:
    async def dialogue() -> None:
        resolver = Resolver(*answers)
        async with playing(silent) as theatre:
            guard = EgressGuard(ports={theatre.port}, look_up=resolver)
            with pytest.raises(SmtpFailure) as caught:
                await guarded(theatre.port, guard, authority)
            assert caught.value.kind is FailureKind.NO_PUBLIC_ADDRESS
            with pytest.raises(SmtpFailure) as caught:
                await guarded(theatre.port, EgressGuard(), authority)
            assert caught.value.kind is FailureKind.PORT_NOT_ALLOWED
            await asyncio.sleep(0.05)
            assert not theatre.stages

    asyncio.run(dialogue())


# What is not a mail server, and what a mail server says


async def silent(stage: Stage) -> None:
    await stage.rest()


async def closing(stage: Stage) -> None:
    return


async def talking_http(stage: Stage) -> None:
    stage.say("HTTP/1.1 400 Bad Request", "")


async def talking_ftp(stage: Stage) -> None:
    stage.say("220 FTP ready")
    await stage.line()
    stage.say("500 Unknown command")
    await stage.rest()


async def babbling(stage: Stage) -> None:
    stage.writer.write(b"220-" + b"x" * 100_000)
    await stage.rest()


async def endless(stage: Stage) -> None:
    while True:
        stage.say(*["220-more"] * 100)
        await stage.writer.drain()


@pytest.mark.parametrize("play", [silent, closing, talking_http, talking_ftp, babbling, endless])
@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS, Security.SSL])
def test_closed_silent_and_foreign_servers_look_the_same(
    run: Run, authority: Authority, play: Play, security: Security
) -> None:
    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority, security=security)
        assert failure.kind is FailureKind.NOT_A_MAIL_SERVER
        assert failure.reply is None
        no_auth(heard)

    run(dialogue())


def test_a_closed_port_looks_the_same(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        async with playing(silent) as theatre:
            port = theatre.port
        with pytest.raises(SmtpFailure) as caught:
            async with connected(port, authority):
                pass
        assert caught.value.kind is FailureKind.NOT_A_MAIL_SERVER

    run(dialogue())


def test_a_greeting_that_refuses_is_told(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        stage.say("421 4.3.2 Too busy")
        await stage.rest()

    async def dialogue() -> None:
        failure, _ = await failure_of(play, authority=authority)
        assert (failure.kind, failure.step) == (FailureKind.REFUSED, Step.GREETING)
        assert failure.reply == Reply(421, "4.3.2", "Too busy")
        assert not failure.permanent

    run(dialogue())


def test_a_password_that_the_server_echoes_is_hidden(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("AUTH PLAIN")
        line = await stage.line()
        stage.say(f"535 5.7.8 {PASSWORD} in {line.decode().strip()} is wrong")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard = await failure_of(play, authority=authority, security=Security.NONE)
        assert b"AUTH PLAIN" in heard
        assert failure.kind is FailureKind.AUTH_REFUSED
        shown = f"{failure} {failure!r} {failure.reply!r} {CREDENTIAL!r} {failure.__context__!r}"
        assert PASSWORD not in shown
        assert heard.split()[-1].decode() not in shown
        assert "5.7.8" in shown

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


# Resumed TLS sessions


def secured(context: ssl.SSLContext, seen: list[ssl.SSLObject]) -> Play:
    """Takes every sign-in; `seen` gets the server's side of each TLS session."""

    async def play(stage: Stage) -> None:
        await stage.hello("STARTTLS", "AUTH PLAIN")
        await stage.line()
        stage.say("220 go on")
        await stage.start_tls(context)
        seen.append(stage.writer.get_extra_info("ssl_object"))
        await stage.answer_hello("AUTH PLAIN")
        await stage.line()
        stage.say("235 2.7.0 welcome")
        await stage.rest()

    return play


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_session_is_resumed_and_the_password_said_again(
    run: Run, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server_context()
    context.maximum_version = version
    seen: list[ssl.SSLObject] = []

    async def dialogue() -> None:
        tls = authority.client_context()
        async with playing(secured(context, seen)) as theatre:
            for _ in range(3):
                async with connected(theatre.port, authority, tls=tls) as connection:
                    assert connection.reusable
            assert theatre.heard.count(b"AUTH PLAIN ") == 3

    run(dialogue())
    assert [tls.session_reused for tls in seen] == [False, True, True]


def test_a_tls_session_is_verified_anew_after_its_time(run: Run, authority: Authority) -> None:
    seen: list[ssl.SSLObject] = []

    async def dialogue() -> None:
        tls = authority.client_context()
        tls.resumed_seconds = 0.0
        async with playing(secured(authority.server_context(), seen)) as theatre:
            for _ in range(2):
                async with connected(theatre.port, authority, tls=tls):
                    pass

    run(dialogue())
    assert [tls.session_reused for tls in seen] == [False, False]


def test_a_tls_session_is_for_the_name_it_was_made_with(run: Run, authority: Authority) -> None:
    context = authority.server_context(names=("localhost",))
    seen: list[ssl.SSLObject] = []

    async def dialogue() -> None:
        tls = authority.client_context()
        async with playing(secured(context, seen)) as theatre:
            async with connected(theatre.port, authority, tls=tls):
                pass
            with pytest.raises(SmtpFailure) as caught:
                async with connected(theatre.port, authority, tls=tls, host="127.0.0.1"):
                    pass
            await asyncio.sleep(0.05)  # for the server's side of the broken handshake
            assert caught.value.kind is FailureKind.CERTIFICATE_NAME
            assert theatre.heard.count(b"AUTH") == 1

    run(dialogue())


def test_another_server_in_the_place_of_a_known_one_is_verified(
    run: Run, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    known = authority.server_context()
    stranger = Authority(tmp_path_factory.mktemp("stranger")).server_context()
    seen: list[ssl.SSLObject] = []

    async def dialogue() -> None:
        tls = authority.client_context()
        plays = [secured(context, seen) for context in (known, known, stranger, known)]
        async with playing(*plays) as theatre:
            for _ in range(2):
                async with connected(theatre.port, authority, tls=tls):
                    pass
            with pytest.raises(SmtpFailure) as caught:
                async with connected(theatre.port, authority, tls=tls):
                    pass
            await asyncio.sleep(0.05)  # for the server's side of the broken handshake
            assert caught.value.kind is FailureKind.CERTIFICATE_UNKNOWN
            assert theatre.heard.count(b"AUTH") == 2
            async with connected(theatre.port, authority, tls=tls):
                pass

    run(dialogue())
    # After a handshake that failed, a whole one.
    assert [tls.session_reused for tls in seen] == [False, True, False]


# Starting a message


async def opened(play: Play, authority: Authority, **options) -> tuple[SmtpFailure, bytes, bool]:
    """How starting a message for two recipients fails, what the server heard, and if it goes on."""
    async with playing(play) as theatre:
        async with connected(theatre.port, authority, Security.NONE, None) as connection:
            with pytest.raises(SmtpFailure) as caught:
                await connection.start_message(
                    "user@example.com", ["a@example.net", "b@example.net"], **options
                )
            reusable = connection.reusable
        await asyncio.sleep(0.05)
        return caught.value, theatre.heard, reusable


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)], ids=["step by step", "pipelined"])
@pytest.mark.parametrize(
    ("replies", "kind", "recipient"),
    [
        (["550 5.1.8 no", "503 no", "503 no", "503 no"], FailureKind.SENDER_REFUSED, None),
        (["452 4.3.1 full", "503 no", "503 no", "503 no"], FailureKind.REFUSED, None),
        (["250 ok", "550 no", "250 ok", "554 no"], FailureKind.RECIPIENT_REFUSED, "a@example.net"),
        (["250 ok", "250 ok", "450 no", "554 no"], FailureKind.RECIPIENT_REFUSED, "b@example.net"),
        (["250 ok", "251 ok", "250 ok", "554 5.7.1 no"], FailureKind.REFUSED, None),
    ],
)
def test_a_refusal_leaves_a_connection_that_can_be_used(
    run: Run,
    authority: Authority,
    extensions: tuple[str, ...],
    replies: list[str],
    kind: FailureKind,
    recipient: str | None,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*extensions)
        for reply in replies:
            if (await stage.line()).startswith(b"RSET"):
                stage.say("250 reset")
                break
            stage.say(reply)
        else:
            await stage.line()
            stage.say("250 reset")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority)
        assert (failure.kind, failure.recipient) == (kind, recipient)
        assert failure.reply
        assert failure.permanent is failure.reply.is_permanent
        assert reusable
        assert b"RSET\r\n" in heard
        assert b"\r\n.\r\n" not in heard

    run(dialogue())


def test_a_354_in_spite_of_a_refused_recipient_gets_no_dot(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("PIPELINING")
        for reply in ("250 ok", "550 5.1.1 unknown", "250 ok", "354 go on"):
            await stage.line()
            stage.say(reply)
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority)
        assert (failure.kind, failure.recipient) == (FailureKind.RECIPIENT_REFUSED, "a@example.net")
        assert not reusable
        assert heard.endswith(b"DATA\r\n")

    run(dialogue())


@pytest.mark.parametrize(
    ("extensions", "options", "reply"),
    [
        ((), {"body": "8BITMIME"}, "554 5.6.3"),
        (("8BITMIME",), {"smtputf8": True}, "554 5.6.7"),
        (("SIZE 1000",), {"size": 1001}, "552 5.3.4"),
    ],
)
def test_what_the_server_cannot_take_is_refused_before_it_hears_of_it(
    run: Run, authority: Authority, extensions: tuple[str, ...], options: dict, reply: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*extensions)
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority, **options)
        assert str(failure.reply).startswith(reply)
        assert failure.permanent
        assert reusable
        assert b"MAIL" not in heard

    run(dialogue())


@pytest.mark.parametrize("address", ["a\r\nRSET", "a\0b@c", "ä@b.c", "a\nb"])
def test_an_address_cannot_smuggle_a_command(run: Run, authority: Authority, address: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello()
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                with pytest.raises(ValueError, match="ASCII"):
                    await connection.start_message("user@example.com", [address])
            await asyncio.sleep(0.05)
            assert b"MAIL" not in theatre.heard

    run(dialogue())


# Content and the final dot


async def to_content(stage: Stage, *extensions: str) -> None:
    await stage.hello(*extensions)
    for reply in ("250 ok", "250 ok", "354 go on"):
        await stage.line()
        stage.say(reply)


async def send_much(connection: Connection) -> None:
    for _ in range(2000):
        await connection.write((b"x" * 76 + b"\r\n") * 100)
        await asyncio.sleep(0)
    await connection.finish()


async def interrupted(play: Play, authority: Authority) -> tuple[SmtpFailure, bool]:
    async with (
        playing(play) as theatre,
        connected(theatre.port, authority, Security.NONE, None) as connection,
    ):
        await connection.start_message("user@example.com", ["a@example.net"])
        with pytest.raises(SmtpFailure) as caught:
            await send_much(connection)
        return caught.value, connection.reusable


def test_an_early_refusal_is_noticed_during_the_content(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.reader.readexactly(50_000)
        stage.say("552 5.2.2 Full")
        await stage.rest()

    async def dialogue() -> None:
        failure, reusable = await interrupted(play, authority)
        assert (failure.kind, failure.step) == (FailureKind.REFUSED, Step.CONTENT)
        assert failure.reply == Reply(552, "5.2.2", "Full")
        assert not reusable

    run(dialogue())


@pytest.mark.parametrize("word", ["250 2.0.0 Taken already", ""])
def test_an_early_yes_or_a_close_is_no_delivery(run: Run, authority: Authority, word: str) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.reader.readexactly(50_000)
        if word:
            stage.say(word)
            await stage.rest()

    async def dialogue() -> None:
        failure, reusable = await interrupted(play, authority)
        assert failure.kind is FailureKind.CONNECTION_LOST
        assert not failure.permanent
        assert not reusable

    run(dialogue())


def test_a_server_that_stops_reading_times_out(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await asyncio.sleep(10)

    async def dialogue() -> None:
        failure, _ = await interrupted(play, authority)
        assert (failure.kind, failure.step) == (FailureKind.TIMEOUT, Step.CONTENT)

    run(dialogue())


def test_a_message_beyond_the_announced_size_never_gets_its_dot(
    run: Run, authority: Authority
) -> None:
    heard: list[bytes] = []

    async def play(stage: Stage) -> None:
        await to_content(stage, "SIZE 100000")
        heard.append(await stage.reader.read())

    async def dialogue() -> None:
        failure, _ = await interrupted(play, authority)
        assert str(failure.reply).startswith("552 5.3.4")
        assert failure.permanent

    run(dialogue())
    assert b"\r\n.\r\n" not in b"".join(heard)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("", FailureKind.CONNECTION_LOST), ("354 more", FailureKind.CONNECTION_LOST)],
)
def test_no_answer_to_the_dot_is_a_failure(
    run: Run, authority: Authority, answer: str, kind: FailureKind
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        if answer:
            stage.say(answer)

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                await connection.start_message("user@example.com", ["a@example.net"])
                await connection.write(b"no end of line")
                with pytest.raises(SmtpFailure) as caught:
                    await connection.finish()
                assert (caught.value.kind, caught.value.step) == (kind, Step.FINAL_DOT)
                assert not connection.reusable
            assert theatre.heard.endswith(b"no end of line\r\n.\r\n")

    run(dialogue())


@pytest.mark.parametrize(("answer", "reusable"), [("550 5.7.1 spam", True), ("421 bye", False)])
def test_a_refusal_of_the_dot_is_an_answer(
    run: Run, authority: Authority, answer: str, reusable: bool
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        stage.say(answer)
        await stage.rest()

    async def dialogue() -> None:
        async with (
            playing(play) as theatre,
            connected(theatre.port, authority, Security.NONE, None) as connection,
        ):
            await connection.start_message("user@example.com", ["a@example.net"])
            await connection.write(CONTENT)
            assert str(await connection.finish()) == answer
            assert connection.reusable is reusable

    run(dialogue())


def test_an_answer_that_drips_in_takes_no_longer_than_its_time(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        stage.writer.write(b"250-")
        while True:
            stage.writer.write(b"x")
            await stage.writer.drain()
            await asyncio.sleep(0.1)

    async def dialogue() -> None:
        async with (
            playing(play) as theatre,
            connected(theatre.port, authority, Security.NONE, None) as connection,
        ):
            await connection.start_message("user@example.com", ["a@example.net"])
            await connection.write(CONTENT)
            async with asyncio.timeout(3 * QUICK.final):
                with pytest.raises(SmtpFailure) as caught:
                    await connection.finish()
            assert (caught.value.kind, caught.value.step) == (FailureKind.TIMEOUT, Step.FINAL_DOT)

    run(dialogue())


def test_a_first_address_that_is_silent_leaves_time_for_the_second(authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello()

    async def dialogue() -> None:
        resolver = Resolver("127.0.0.2", "127.0.0.1")
        context = authority.server_context(names=("smtp.partner.example",))
        async with playing(play, tls=context) as theatre:
            guard = EgressGuard([ip_network("127.0.0.0/8")], {theatre.port}, resolver)
            with contextlib.ExitStack() as stack:
                full = stack.enter_context(socket.socket())
                full.bind(("127.0.0.2", theatre.port))
                full.listen(0)
                # Linux lets one more wait than was asked for, and answers nobody after that.
                for _ in range(2):
                    waiting = stack.enter_context(socket.socket())
                    waiting.setblocking(False)
                    waiting.connect_ex(("127.0.0.2", theatre.port))
                assert await guarded(theatre.port, guard, authority) == "127.0.0.1"

    asyncio.run(dialogue())


def test_who_gives_up_while_the_server_thinks_says_nothing_more(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("PIPELINING")
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                opening = connection.start_message("user@example.com", ["a@example.net"])
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(opening, 0.1)
                connection.close()
            await asyncio.sleep(0.05)
            assert b"QUIT" not in theatre.heard

    run(dialogue())
