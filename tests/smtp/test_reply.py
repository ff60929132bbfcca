import pytest

from smtp.reply import MAX_BYTES_IN, MAX_LINE_IN, Reply, ReplyError, ReplyParser


@pytest.mark.parametrize(
    ("reply", "wire"),
    [
        (Reply(250, "2.0.0", "OK"), b"250 2.0.0 OK\r\n"),
        (Reply(220, "", "mail.example.com ESMTP"), b"220 mail.example.com ESMTP\r\n"),
        (Reply(250, "", "a\nB 1\nC"), b"250-a\r\n250-B 1\r\n250 C\r\n"),
        (Reply(550, "5.7.1", "one\ntwo"), b"550-5.7.1 one\r\n550 5.7.1 two\r\n"),
        (Reply(334, "", ""), b"334 \r\n"),
        (Reply(550, "5.0.0", "a\r\0b\x7f ü"), b"550 5.0.0 a??b? ?\r\n"),
        (Reply(550, "", "x" * 600), b"550 " + b"x" * 506 + b"\r\n"),
    ],
)
def test_a_reply_is_written_as_lines(reply: Reply, wire: bytes) -> None:
    assert reply.encode() == wire


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"250 2.0.0 OK\r\n", Reply(250, "2.0.0", "OK")),
        (b"250\r\n", Reply(250, "", "")),
        (b"250-a\r\n250-B 1\r\n250 C\r\n", Reply(250, "", "a\nB 1\nC")),
        (b"550-5.7.1 one\r\n550 5.7.1 two\r\n", Reply(550, "5.7.1", "one\ntwo")),
        (b"550-5.7.1 one\r\n550-two\r\n550 5.7.1\r\n", Reply(550, "5.7.1", "one\ntwo\n")),
        (b"250 5.7.1 odd\r\n", Reply(250, "", "5.7.1 odd")),
        (b"250 OK\n", Reply(250, "", "OK")),
        (b"250 a\rb\0\r\n", Reply(250, "", "a\ufffdb\ufffd")),
        (b"550 \xff\xfe\r\n", Reply(550, "", "\ufffd\ufffd")),
    ],
)
def test_a_reply_is_read_whole_and_byte_by_byte(wire: bytes, reply: Reply) -> None:
    assert ReplyParser().feed(wire) == [reply]
    parser = ReplyParser()
    replies = [one for byte in wire for one in parser.feed(bytes([byte]))]
    assert replies == [reply]
    assert not parser.is_pending


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"25 x\r\n",
        b"650 x\r\n",
        b"150 x\r\n",
        b"250_x\r\n",
        b"2500 x\r\n",
        b" 250 x\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 " + b"x" * MAX_LINE_IN,
        b"250 " + b"x" * MAX_LINE_IN + b"\r\n",
        b"250-x\r\n" * 200,
        (b"250-" + b"x" * 1000 + b"\r\n") * (MAX_BYTES_IN // 1000 + 1),
    ],
)
def test_what_is_no_reply_is_refused(wire: bytes) -> None:
    with pytest.raises(ReplyError):
        ReplyParser().feed(wire)


def test_the_kinds_of_reply() -> None:
    kinds = [
        (one.is_positive, one.is_transient, one.is_permanent)
        for one in (Reply(250, "", ""), Reply(354, "", ""), Reply(450, "", ""), Reply(550, "", ""))
    ]
    assert kinds == [(True, False, False)] * 2 + [(False, True, False), (False, False, True)]
    assert str(Reply(550, "5.7.1", "no")) == "550 5.7.1 no"
    assert str(Reply(550, "", "no")) == "550 no"
