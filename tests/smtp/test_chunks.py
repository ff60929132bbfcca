"""BDAT: the reader alone, then literal transcripts over sockets, on both event loops."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp.chunks import ChunkReader
from smtp.command import Chunk
from smtp.content import BareLineError, ContentReader
from smtp.reply import Reply
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import HEADER, Dialogue, Recorder, dialling, serving, serving_one, signed_in

MAIL = b"MAIL FROM:<user@example.com>\r\nRCPT TO:<a@example.net>\r\n"


def bdat(content: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(content), b" LAST" if last else b"") + content


def read(chunks: list[bytes], **limits: int) -> tuple[ChunkReader, bytes]:
    reader = ChunkReader(**{"header_size": 1000, "message_size": 5000, **limits})
    body = b""
    for number, chunk in enumerate(chunks, start=1):
        reader.expect(Chunk(len(chunk), is_last=number == len(chunks)))
        body += reader.feed(chunk)
    return reader, body


@pytest.mark.parametrize(
    ("raw", "header", "body"),
    [
        (HEADER + b"text\r\n", HEADER, b"text\r\n"),
        (HEADER + b"no end", HEADER, b"no end"),
        (HEADER, HEADER, b""),
        (HEADER + b".\r\n", HEADER, b"..\r\n"),
        (HEADER + b"text\r\n.\r\nMAIL\r\n", HEADER, b"text\r\n..\r\nMAIL\r\n"),
        (HEADER + b"..x\r\n.", HEADER, b"...x\r\n.."),
        (b"From: a@example.com\r\n", b"From: a@example.com\r\n", b""),
        (b"", b"", b""),
    ],
)
def test_a_message_in_chunks_has_the_form_of_data(raw: bytes, header: bytes, body: bytes) -> None:
    for chunks in ([raw], [b"", raw, b""], [raw[i : i + 1] for i in range(len(raw))] or [b""]):
        reader, got = read(chunks)
        assert (reader.header, got, reader.ended, reader.refusal) == (header, body, True, None)


@pytest.mark.parametrize("bare", [b"\n", b"\r", b"\0", b"\n.\n", b"\r\n.\r", b"\r\r\n", b"\n\r\n"])
@pytest.mark.parametrize("behind", [b"", b"x\r\n"])
def test_bare_bytes_are_found_in_chunks(bare: bytes, behind: bytes) -> None:
    raw = HEADER + b"text" + bare + behind
    with pytest.raises(BareLineError):
        read([raw])
    with pytest.raises(BareLineError):
        read([raw[i : i + 1] for i in range(len(raw))])


PIECES = st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.\r\n", b"\r\n.x\r\n"])


@given(st.lists(PIECES, max_size=12), st.data())
def test_however_content_is_chunked_data_reads_it_back(
    pieces: list[bytes], data: st.DataObject
) -> None:
    raw = HEADER + b"".join(pieces) + b"\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    _, body = read([raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)])
    assert unstuffed(body) == raw[len(HEADER) :]
    as_data = ContentReader(header_size=1000, message_size=5000)
    assert as_data.feed(HEADER + body + b".\r\nQUIT") == body
    assert as_data.rest == b"QUIT"


def unstuffed(body: bytes) -> bytes:
    lines = body.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


def test_a_message_in_two_chunks(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority) as client:
            # RFC 3030 4.2, in one flight with what precedes and follows.
            one, two = HEADER + b".dot\r", b"\n.\r\nNOOP\r\n\xff"
            client.send(MAIL + bdat(one) + b"NOOP\r\n" + bdat(two) + bdat(b"", last=True))
            client.send(b"NOOP\r\n")
            heard = [(await client.hear())[:9] for _ in range(7)]
            assert heard == ["250 2.1.0", "250 2.1.5", *["250 2.0.0"] * 5]
            # The handler's answer comes for the last chunk, and a second message may follow.
            client.send(MAIL + bdat(HEADER, last=True))
            assert [await client.hear() for _ in range(3)][-1] == "250 2.0.0 Taken"
        first, second = handler.messages
        assert (first.header.encode(), first.body) == (HEADER, b"..dot\r\n..\r\nNOOP\r\n\xff")
        assert first.finished
        assert (second.header.encode(), second.body, second.finished) == (HEADER, b"", True)

    run(dialogue())


def test_a_command_may_come_byte_by_byte(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority) as client:
            raw = MAIL + bdat(HEADER) + bdat(b"text\r\n", last=True)
            for number in range(len(raw)):
                client.send(raw[number : number + 1])
                await asyncio.sleep(0)
            assert [(await client.hear())[:3] for _ in range(4)] == ["250"] * 4
        assert handler.messages[0].body == b"text\r\n"

    run(dialogue())


async def heard_after(client: Dialogue, raw: bytes) -> list[str]:
    """All replies from the first to that of a NOOP behind `raw`."""
    client.send(raw + b"HELP\r\n")
    replies = [await client.hear()]
    while not replies[-1].startswith("214"):
        replies.append(await client.hear())
    return [reply[:9] for reply in replies[:-1]]


def test_what_is_refused_is_read_all_the_same(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, message_size=1000) as client:
            smuggled = b"MAIL FROM:<admin@example.com>\r\n"
            assert await heard_after(client, bdat(smuggled, last=True)) == ["503 5.5.1"]
            assert await heard_after(client, b"RCPT TO:<a@b.c>\r\n" + bdat(smuggled)) == [
                "503 5.5.1",
                "503 5.5.1",
            ]
            replies = await heard_after(client, MAIL + bdat(b"no header") + bdat(b"", last=True))
            assert replies == ["250 2.1.0", "250 2.1.5", "250 2.0.0", "554 5.6.0"]
            large = MAIL + bdat(HEADER) + bdat(b"x" * 999) + bdat(smuggled, last=True)
            replies = await heard_after(client, large)
            assert replies[2:] == ["250 2.0.0", "552 5.3.4", "503 5.5.1"]
            assert await heard_after(client, MAIL + bdat(HEADER, last=True)) == [
                "250 2.1.0",
                "250 2.1.5",
                "250 2.0.0",
            ]
        assert [message.finished for message in handler.messages] == [False, True]
        assert handler.messages[0].aborted

    run(dialogue())


@pytest.mark.parametrize("verb", [b"RSET", b"EHLO x", b"QUIT"])
def test_a_message_in_chunks_can_be_taken_back(run: Run, authority: Authority, verb: bytes) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority) as client:
            client.send(MAIL + bdat(HEADER + b"half"))
            assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
            assert (await client.say(verb))[0] == "2"
            if verb != b"QUIT":
                client.send(MAIL + bdat(HEADER + b"whole", last=True))
                assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
            await asyncio.sleep(0.05)
        first, *others = handler.messages
        assert (first.aborted, first.finished) == (True, False)
        assert [other.body for other in others] == ([] if verb == b"QUIT" else [b"whole"])

    run(dialogue())


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (bdat(HEADER + b"text\n.\nMAIL", last=True), "554 5.6.0"),
        (bdat(HEADER + b"text\r", last=True), "554 5.6.0"),
        (bdat(HEADER + b"\0", last=False), "554 5.6.0"),
        (b"BDAT x LAST\r\nNOOP\r\n", "501 5.5.4"),
        (b"BDAT 99999999999999999999 LAST\r\n" + HEADER + b"x" * 5000, "552 5.3.4"),
    ],
)
def test_where_no_next_command_can_be_trusted_the_session_ends(
    run: Run, authority: Authority, raw: bytes, reply: str
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, message_size=1000) as client:
            client.send(MAIL + raw)
            assert [(await client.hear())[:3] for _ in range(2)] == ["250", "250"]
            assert (await client.hear()).startswith(reply)
            assert await client.is_closed()
        assert not any(message.finished for message in handler.messages)

    run(dialogue())


def test_a_stranger_cannot_make_us_read_chunks(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context(), implicit_tls=True) as (_, port),
            dialling(port, authority.client_context()) as client,
        ):
            await client.hear()
            await client.say("EHLO client.example")
            assert (await client.say("BDAT 1000000")).startswith("530 5.7.0")
            assert await client.is_closed()

    run(dialogue())


def test_what_the_handler_refuses_is_heard_between_chunks(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder(verdict=Reply(451, "4.4.1", "Upstream has gone"))
        async with serving_one(handler, authority) as client:
            client.send(MAIL + bdat(HEADER + b"one"))
            assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
            await asyncio.sleep(0.05)
            client.send(bdat(b"two"))
            assert await client.hear() == "451 4.4.1 Upstream has gone"
            assert (await client.say("NOOP")).startswith("250")
        assert handler.messages[0].aborted

    run(dialogue())


def test_a_slow_sink_stops_a_client_that_sends_chunks(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder(gate=asyncio.Event())
        async with serving_one(handler, authority) as client:
            client.send(MAIL + bdat(HEADER))
            total = 24_000_000

            async def pour() -> None:
                for _ in range(total // 60_000):
                    client.send(bdat(b"x" * 60_000))
                    await client.writer.drain()
                client.send(bdat(b"", last=True))

            pouring = asyncio.create_task(pour())
            await asyncio.sleep(0.3)
            stopped = not pouring.done()
            assert handler.gate
            handler.gate.set()
            assert stopped
            await pouring
            replies = [await client.hear() for _ in range(3 + total // 60_000 + 1)]
            assert replies[-1] == "250 2.0.0 Taken"
        assert len(handler.messages[0].body) == total

    run(dialogue())


def test_draining_lets_a_message_in_chunks_finish(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (server, port),
            signed_in(port, authority.client_context()) as client,
        ):
            client.send(MAIL + bdat(HEADER))
            assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
            draining = asyncio.create_task(server.drain(timeout=5))
            await asyncio.sleep(0.05)
            client.send(bdat(b"end", last=True))
            assert await client.hear() == "250 2.0.0 Taken"
            assert (await client.hear()).startswith("421")
            await draining
        assert handler.messages[0].finished

    run(dialogue())


def test_quiet_between_chunks_has_an_end(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, idle=0.3) as client:
            client.send(MAIL + bdat(HEADER))
            assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
            assert (await client.hear()).startswith("421 4.4.2")
            await asyncio.sleep(0.05)
        assert handler.messages[0].aborted

    run(dialogue())
