"""Where our client connects to, and what it says of a server that is none."""

import asyncio
import contextlib
import socket
from ipaddress import ip_network

import pytest

from smtp.egress import EgressGuard
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from smtp.sign_on import connect
from smtp.target import Security, Server
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import CREDENTIAL, QUICK, connected, failure_of, no_auth
from tests.smtp.fakes import PASSWORD, Play, Stage, playing


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


async def silent(stage: Stage) -> None:
    await stage.rest()


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
