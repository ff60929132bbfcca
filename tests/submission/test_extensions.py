"""SMTPUTF8 and CHUNKING through the real service: honoured upstream, or refused."""

import smtplib

import pytest

from delivery.models import Delivery
from tests.processes import until
from tests.submission.conftest import give_scripted_gateway

pytestmark = pytest.mark.slow

PRIMARY = "user@yourdomain.com"
RECIPIENTS = ["claire@customer.example", "dan@customer.example"]
EHLO = b"250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n"
FAR = "jürgen@bücher.example"
FAR_ON_THE_WIRE = "jürgen@xn--bcher-kva.example"
ASCII = b"From: user.name@partnerdomain.com\r\nSubject: x\r\n\r\nText\r\n"
NOT_ASCII = b"From: user.name@partnerdomain.com\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nText\r\n"


@pytest.fixture
def ours(post_office, app_password):
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


@pytest.fixture
def client(ours, post_office, owner):
    """Signed in, and owner of an address whose gateway is the scripted upstream."""
    give_scripted_gateway(owner, post_office)
    return ours


def send(client, recipient: str, content: bytes) -> tuple[int, bytes]:
    """One message with SMTPUTF8 asked for; the answer to its final dot."""
    client.ehlo()
    client.command_encoding = "utf-8"
    assert client.docmd(f"MAIL FROM:<{PRIMARY}> SMTPUTF8 BODY=8BITMIME")[0] == 250
    assert client.docmd(f"RCPT TO:<{recipient}>")[0] == 250
    return client.data(content)


def outcome() -> Delivery:
    until(lambda: Delivery.objects.filter(finished_at__isnull=False).exists(), 5)
    return Delivery.objects.get()


@pytest.mark.parametrize(
    ("recipient", "content"), [(FAR, ASCII), (RECIPIENTS[0], NOT_ASCII)], ids=["envelope", "header"]
)
def test_an_upstream_without_smtputf8_hears_nothing_of_what_needs_it(
    client, post_office, recipient, content
):
    with post_office.upstream() as upstream:
        code, text = send(client, recipient, content)
    assert code == 554
    assert text.startswith(b"5.6.7 The next server does not take addresses or headers beyond ASCII")
    assert b"Nothing was sent" in text
    assert [line for line in upstream.commands if line.startswith(("MAIL", "RCPT"))] == []
    assert outcome().state == Delivery.State.REFUSED


def test_what_is_ascii_passes_an_upstream_without_smtputf8_as_it_is(client, post_office):
    with post_office.upstream() as upstream:
        assert send(client, RECIPIENTS[0], ASCII)[0] == 250
    assert "MAIL FROM:<user.name@partnerdomain.com> BODY=8BITMIME" in upstream.commands


@pytest.mark.parametrize(
    ("recipient", "content", "heard"),
    [(FAR, ASCII, FAR_ON_THE_WIRE), (RECIPIENTS[0], NOT_ASCII, RECIPIENTS[0])],
    ids=["envelope", "header"],
)
def test_an_upstream_with_smtputf8_is_asked_for_it(client, post_office, recipient, content, heard):
    with post_office.upstream(EHLO=EHLO) as upstream:
        assert send(client, recipient, content)[0] == 250
    assert "MAIL FROM:<user.name@partnerdomain.com> BODY=8BITMIME SMTPUTF8" in upstream.commands
    assert f"RCPT TO:<{heard}>" in upstream.commands
    assert [each.address for each in outcome().recipients.all()] == [heard]


def test_a_from_beyond_ascii_is_compared_strictly_and_only_when_asked_for(client, post_office):
    hostile = "From: usеr.name@partnerdomain.com\r\n\r\nText\r\n".encode()  # one Cyrillic letter
    foreign = "From: jürgen@partnerdomain.com\r\n\r\nText\r\n".encode()
    assert send(client, RECIPIENTS[0], hostile)[0] == 554
    code, text = send(client, RECIPIENTS[0], foreign)
    assert (code, b"is not one of your addresses" in text) == (550, True)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(PRIMARY, RECIPIENTS, foreign)
    assert refused.value.smtp_code == 554


def test_a_message_in_chunks_reaches_the_upstream_dot_stuffed(client, post_office):
    body = b".one\r\n.\r\nthree\r\n"
    with post_office.upstream() as upstream:
        client.mail(PRIMARY)
        client.rcpt(RECIPIENTS[0])
        head, rest = (ASCII + body)[:30], (ASCII + body)[30:]
        client.send(b"BDAT %d\r\n%b" % (len(head), head))
        assert client.getreply()[0] == 250
        client.send(b"BDAT %d LAST\r\n%b" % (len(rest), rest))
        code, text = client.getreply()
        assert (code, text.startswith(b"2.0.0 Taken as 4Xk2 (Outgate ")) == (250, True)
    assert upstream.dots == 1
    assert outcome().state == Delivery.State.DELIVERED


def test_chunks_and_data_bring_the_same_octets(ours, post_office):
    content = f"From: {PRIMARY}\r\n\r\n.one\r\n..two\r\n.\r\nthree\r\n".encode()
    ours.sendmail(PRIMARY, RECIPIENTS, content)
    ours.mail(PRIMARY)
    ours.rcpt(RECIPIENTS[0])
    ours.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
    assert ours.getreply()[0] == 250
    bodies = {raw.partition(b"\r\n\r\n")[2] for raw in post_office.raw("ours")}
    assert bodies == {b".one\r\n..two\r\n.\r\nthree\r\n"}


@pytest.mark.parametrize("ending", [b"\n.\n", b"\r.\r", b"\r\n\0.\r\n", b"\r\n.\r"])
def test_a_fake_ending_in_a_chunk_smuggles_nothing(ours, post_office, ending):
    content = f"From: {PRIMARY}\r\n\r\nText".encode() + ending + b"MAIL FROM:<boss@x.example>\r\n"
    ours.mail(PRIMARY)
    ours.rcpt(RECIPIENTS[0])
    ours.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
    assert ours.getreply()[0] == 554
    assert post_office.raw("ours") == post_office.raw("partner") == []
    ours.close()  # the service would wait two seconds for that
