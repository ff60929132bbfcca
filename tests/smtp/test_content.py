import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp.content import BareLineError, ContentReader

HEADER = b"From: a@example.com\r\nX: y\r\n\r\n"


def read(chunks: list[bytes], **limits: int) -> tuple[ContentReader, bytes]:
    reader = ContentReader(**{"header_size": 1000, "message_size": 5000, **limits})
    body = b"".join(reader.feed(chunk) for chunk in chunks)
    return reader, body


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


@pytest.mark.parametrize(
    ("raw", "header", "body"),
    [
        (HEADER + b"text\r\n.\r\n", HEADER, b"text\r\n"),
        (HEADER + b".\r\n", HEADER, b""),
        (HEADER + b"..\r\n.x\r\n.\r\n", HEADER, b"..\r\n.x\r\n"),
        (HEADER + b"\r\n\r\n.\r\n", HEADER, b"\r\n\r\n"),
        (b"From: a@example.com\r\n.\r\n", b"From: a@example.com\r\n", b""),
        (b"\r\ntext\r\n.\r\n", b"\r\n", b"text\r\n"),
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (HEADER + b"a.\r\n.b\r\n. \r\n.\r\n", HEADER, b"a.\r\n.b\r\n. \r\n"),
    ],
)
def test_content_is_read_the_same_byte_by_byte(raw: bytes, header: bytes, body: bytes) -> None:
    reader, got = read([raw + b"QUIT\r\n"])
    assert (reader.header, got, reader.ended, reader.rest) == (header, body, True, b"QUIT\r\n")
    reader, got = read(bytewise(raw))
    assert (reader.header, got, reader.ended, reader.rest) == (header, body, True, b"")


BARE = [
    *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\rx"),
    *(b"\0\r\n.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"),
    *(b"a\rb", b"a\nb", b"\r\r\n", b"\n\r\n", b"\r\n.\r\r\n"),
]


@pytest.mark.parametrize("ending", BARE)
@pytest.mark.parametrize("where", [b"", b"From: a@example.com", HEADER, HEADER + b"text"])
def test_bare_bytes_are_found_wherever_they_stand(where: bytes, ending: bytes) -> None:
    with pytest.raises(BareLineError):
        read([where + ending + b"x\r\n.\r\n"])
    with pytest.raises(BareLineError):
        read(bytewise(where + ending + b"x\r\n.\r\n"))


def test_limits_refuse_but_the_end_is_still_found() -> None:
    reader, body = read([HEADER, b"x" * 5000, b"\r\n.\r\n"])
    assert (reader.refusal and reader.refusal.code, reader.ended) == (552, True)
    reader, body = read(bytewise(b"X: y\r\n" * 200 + b"\r\ntext\r\n.\r\n"))
    assert (reader.refusal and reader.refusal.code, reader.ended, body) == (552, True, b"")
    assert reader.header is None


PIECES = st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\0", b"\r\n.\r\n", b"X: y"])


@given(st.lists(PIECES, max_size=12), st.data())
def test_however_content_is_cut_it_reads_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    raw = HEADER + b"".join(pieces) + b"\r\n.\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert outcome(chunks) == outcome([raw])


def outcome(chunks: list[bytes]) -> tuple[bytes, bytes] | None:
    """Body and what lies behind it; None where a bare byte was found before the end."""
    reader = ContentReader(header_size=1000, message_size=5000)
    body = b""
    try:
        for number, chunk in enumerate(chunks):
            body += reader.feed(chunk)
            if reader.ended:
                return body, reader.rest + b"".join(chunks[number + 1 :])
    except BareLineError:
        return None
    raise AssertionError("the end was not found")
