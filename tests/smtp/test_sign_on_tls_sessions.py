"""Resumed TLS sessions."""

import asyncio
import ssl

import pytest

from smtp.failure import FailureKind, SmtpFailure
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import connected
from tests.smtp.fakes import Play, Stage, playing


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
