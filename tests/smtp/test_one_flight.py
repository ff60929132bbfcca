"""A small message in one flight: what leaves, what each answer means, and when it goes by DATA."""

import asyncio

import pytest

from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.one_flight import LARGEST, OneFlight
from smtp.pool import ConnectionPool, Opener
from smtp.session import Envelope
from smtp.sign_on import connect
from smtp.target import Security, Server, Timeouts
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import Stage, Theatre, playing

OFFERED = ("PIPELINING", "CHUNKING", "SIZE 100000")
ENVELOPE = Envelope("a@example.com", ["b@example.net"])
HEADER = b"From: a@example.com\r\n\r\n"
# As a sink gets it, and as it was before dot-stuffing.
STUFFED = HEADER + b"..\r\n...dots\r\nno dot\r\n..end"
PLAIN = HEADER + b".\r\n..dots\r\nno dot\r\n.end\r\n"
YES = ("250 ok", "250 ok", "250 taken")


def opener(theatre: Theatre, authority: Authority, warm: float) -> Opener:
    return lambda: connect(
        Server("localhost", theatre.port, Security.NONE),
        guard=None,
        tls=authority.client_context(),
        hostname="mail.example.com",
        timeouts=Timeouts(connect=1, command=0.5, content=0.5, final=0.5, warm=warm),
    )


async def by_data(stage: Stage) -> bytes:
    """Take one message that comes by DATA; its content without the dot line."""
    for reply in ("250 ok", "250 ok", "354 go on"):
        await stage.line()
        stage.say(reply)
    content = await stage.content()
    stage.say("250 taken")
    return content[:-3]


async def by_chunk(stage: Stage, *replies: str) -> tuple[list[bytes], bytes]:
    """Read a whole flight, and only then answer."""
    lines = [await stage.line() for _line in range(3)]
    chunk = await stage.reader.readexactly(int(lines[2].split()[1]))
    stage.say(*replies)
    return lines, chunk


class Flights:
    """A pool whose first message has gone by DATA, so that its connection is warm."""

    def __init__(self, theatre: Theatre, authority: Authority, warm: float) -> None:
        self.begun: list[str] = []
        self.pool = ConnectionPool(per_key=1, wait=0.2, on_start=self.begun.append)
        self.open = opener(theatre, authority, warm)

    async def warm_up(self) -> "Flights":
        connection = await self.pool.start_message("one", self.open, ENVELOPE)
        await connection.write(HEADER)
        assert (await connection.finish()).code == 250
        self.pool.release("one", connection)
        return self

    def release(self, flight: OneFlight) -> None:
        assert flight.connection
        self.pool.release("one", flight.connection)

    def flight(self, envelope: Envelope = ENVELOPE) -> OneFlight | None:
        return OneFlight.of(self.pool, "one", self.open, envelope)


def test_everything_leaves_before_anything_is_answered(run: Run, authority: Authority) -> None:
    seen: list[tuple[list[bytes], bytes]] = []

    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        seen.append(await by_chunk(stage, *YES))
        seen.append(await by_chunk(stage, *YES))
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            for content in (STUFFED, HEADER):
                flight = flights.flight()
                assert flight
                await flight.write(content[:9])
                await flight.write(content[9:])
                await flight.settle()
                assert str(await flight.finish()) == "250 taken"
                flights.release(flight)
            await flights.pool.close()
            assert len(theatre.stages) == 1
            assert flights.begun == ["new", "kept", "kept"]

    run(dialogue())
    (lines, chunk), (_lines, bare) = seen
    size = b"%d" % len(PLAIN)
    assert lines == [
        b"MAIL FROM:<a@example.com> SIZE=" + size + b"\r\n",
        b"RCPT TO:<b@example.net>\r\n",
        b"BDAT " + size + b" LAST\r\n",
    ]
    assert chunk == PLAIN
    assert bare == HEADER


@pytest.mark.parametrize(
    ("replies", "kind", "step", "code"),
    [
        (("550 5.1.8 no", "503 no", "503 no"), FailureKind.SENDER_REFUSED, Step.MAIL, 550),
        (("250 ok", "550 no", "503 no"), FailureKind.RECIPIENT_REFUSED, Step.RCPT, 550),
        (("421 enough",), FailureKind.REFUSED, Step.MAIL, 421),
        # What follows may have been sent.
        ((), FailureKind.CONNECTION_LOST, Step.FINAL_DOT, None),
        (("250 ok",), FailureKind.CONNECTION_LOST, Step.FINAL_DOT, None),
        (("250 ok", "250 ok"), FailureKind.CONNECTION_LOST, Step.FINAL_DOT, None),
        (("354 go on", "250 ok", "250 ok"), FailureKind.CONNECTION_LOST, Step.FINAL_DOT, None),
        (("250 ok", "250 ok", "354 go on"), FailureKind.CONNECTION_LOST, Step.FINAL_DOT, None),
    ],
)
def test_what_a_server_answers_is_told_apart(
    run: Run,
    authority: Authority,
    replies: tuple[str, ...],
    kind: FailureKind,
    step: Step,
    code: int | None,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await by_chunk(stage, *replies)

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            flight = flights.flight()
            assert flight
            await flight.write(STUFFED)
            with pytest.raises(SmtpFailure) as caught:
                await flight.finish()
            failure = caught.value
            assert (failure.kind, failure.step) == (kind, step)
            assert (failure.reply.code if failure.reply else None) == code
            assert flight.may_start_again(failure) is (code == 421)
            assert flight.connection
            assert not flight.connection.reusable
            assert len(theatre.stages) == 1

    run(dialogue())


def test_silence_behind_a_flight_has_an_end(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await by_chunk(stage)
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            flight = flights.flight()
            assert flight
            with pytest.raises(SmtpFailure) as caught:
                await flight.finish()
            assert (caught.value.kind, caught.value.step) == (FailureKind.TIMEOUT, Step.FINAL_DOT)

    run(dialogue())


def test_a_refusal_of_the_content_is_the_answer(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await by_chunk(stage, "250 ok", "250 ok", "552 5.3.4 too much")
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            flight = flights.flight()
            assert flight
            assert (await flight.finish()).code == 552

    run(dialogue())


@pytest.mark.parametrize("reason", ["cold by then", "grown large", "connection ended"])
def test_what_does_not_fit_goes_by_data_whole(run: Run, authority: Authority, reason: str) -> None:
    """Where the server says 421, on another connection; else on the one it has."""
    content = STUFFED + b"\r\n" + (b"x" * 98 + b"\r\n") * (700 if reason == "grown large" else 1)
    seen: list[bytes] = []

    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        if reason == "connection ended":
            await by_chunk(stage, "421 4.7.0 so many and no more")
        else:
            seen.append(await by_data(stage))
            await stage.rest()

    async def another(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        seen.append(await by_data(stage))
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play, another) as theatre:
            warm = 0.05 if reason == "cold by then" else 5.0
            flights = await Flights(theatre, authority, warm).warm_up()
            flight = flights.flight()
            assert flight
            await flight.write(content)
            if reason == "cold by then":
                await asyncio.sleep(0.1)
            await flight.settle()
            if reason == "connection ended":
                with pytest.raises(SmtpFailure) as caught:
                    await flight.finish()
                assert flight.may_start_again(caught.value)
                await flight.start()
            assert (await flight.finish()).code == 250
            assert len(theatre.stages) == 1 + (reason == "connection ended")
            assert flights.begun == ["new", "new" if reason == "connection ended" else "kept"]
            flights.release(flight)
            await flights.pool.close()

    run(dialogue())
    assert seen == [content]


def test_only_what_is_dropped_before_it_left_leaves_the_connection_fit(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await by_chunk(stage, "250 ok", "250 ok", "552 5.3.4 too much")
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            for leaves in (False, True):
                flight = flights.flight()
                assert flight
                assert flight.connection
                await flight.write(STUFFED)
                if leaves:
                    assert (await flight.finish()).code == 552
                flight.abort()
                assert flight.connection.reusable is not leaves
                flights.release(flight)
            assert len(theatre.stages) == 1
            await flights.pool.close()

    run(dialogue())


def test_what_has_become_data_is_dropped_with_its_connection(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        for reply in ("250 ok", "250 ok", "354 go on"):
            await stage.line()
            stage.say(reply)
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            flight = flights.flight()
            assert flight
            await flight.write(STUFFED)
            await flight.start()
            flight.abort()
            assert flight.connection
            assert not flight.connection.reusable
            await flights.pool.close()

    run(dialogue())


def test_what_can_not_be_started_either_gives_its_place_back_once(
    run: Run, authority: Authority
) -> None:
    async def ends(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await by_chunk(stage, "421 4.7.0 so many and no more")

    async def is_full(stage: Stage) -> None:
        stage.say("421 4.3.2 come again")

    async def takes(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await stage.rest()

    async def dialogue() -> None:
        async with playing(ends, is_full, takes) as theatre:
            flights = await Flights(theatre, authority, 5.0).warm_up()
            flight = flights.flight()
            assert flight
            await flight.write(HEADER)
            with pytest.raises(SmtpFailure):
                await flight.finish()
            with pytest.raises(SmtpFailure) as caught:
                await flight.start()
            assert caught.value.step is Step.GREETING
            assert flight.connection is None
            await flights.warm_up()
            with pytest.raises(SmtpFailure) as caught:  # there is one place and no more
                await asyncio.gather(
                    flights.pool.acquire("one", flights.open),
                    flights.pool.acquire("one", flights.open),
                )
            assert caught.value.step is Step.POOL
            await flights.pool.close()

    run(dialogue())


@pytest.mark.parametrize(
    ("extensions", "envelope"),
    [
        (("PIPELINING",), ENVELOPE),
        (("CHUNKING",), ENVELOPE),
        (OFFERED, Envelope("a@example.com", ["b@example.net", "c@example.net"])),
        (OFFERED, Envelope("a@example.com", ["b@example.net"], size=LARGEST + 1)),
    ],
)
def test_what_is_not_made_for_it_is_not_tried(
    run: Run, authority: Authority, extensions: tuple[str, ...], envelope: Envelope
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*extensions)
        await by_data(stage)
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = Flights(theatre, authority, 5.0)
            assert flights.flight(envelope) is None  # no connection is there yet
            await flights.warm_up()
            assert flights.flight(envelope) is None
            await flights.pool.close()

    run(dialogue())


def test_a_connection_that_has_been_idle_is_not_trusted(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*OFFERED)
        await by_data(stage)
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            flights = await Flights(theatre, authority, 0.05).warm_up()
            await asyncio.sleep(0.1)
            assert flights.flight() is None
            await flights.pool.close()

    run(dialogue())
