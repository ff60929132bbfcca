"""The verbs, without a socket."""

import base64

import pytest

from smtp.dialogue import Action, Dialogue
from smtp.reply import Reply
from smtp.session import Limits, Session


def dialogue(*, tls: bool = True, signed_in: bool = True, **limits: int) -> Dialogue:
    one = Dialogue(
        Session(peer="192.0.2.1"),
        hostname="mail.example.com",
        limits=Limits(**limits),  # type: ignore[arg-type]
    )
    if tls:
        one.start_tls("TLSv1.3")
    say(one, b"EHLO client.example")
    if signed_in:
        one.sign_in("account")
    return one


def say(one: Dialogue, line: bytes, *, is_last: bool = True) -> str:
    """The reply, and the action if it is not to go on."""
    outcome = one.take(line, is_last=is_last)
    words = str(outcome.reply) if outcome.reply else ""
    return words if outcome.action is Action.CONTINUE else f"{words} [{outcome.action.name}]"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"MAIL FROM:<a@example.com>", "250 2.1.0 OK"),
        (b"mail from:<a@example.com>", "250 2.1.0 OK"),
        (b"MAIL FROM: <a@example.com>", "250 2.1.0 OK"),
        (b"MAIL FROM:<>", "250 2.1.0 OK"),
        (b"MAIL FROM:<a@example.com> SIZE=1000 BODY=8bitmime AUTH=<>", "250 2.1.0 OK"),
        (b"MAIL FROM:<a@example.com> size=36700160", "250 2.1.0 OK"),
        (b"MAIL FROM:<a@example.com> SIZE=36700161", "552 5.3.4"),
        (b"MAIL FROM:<a@example.com> SIZE=" + b"9" * 20, "552 5.3.4"),
        (b"MAIL FROM:<a@example.com> SIZE=" + b"9" * 21, "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> SIZE=-1", "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> SIZE=", "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> SIZE", "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> SIZE=1 SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<a@example.com> SMTPUTF8", "250 2.1.0 OK"),
        (b"MAIL FROM:<\xc3\xa4@example.com> SMTPUTF8", "250 2.1.0 OK"),
        (b"MAIL FROM:<a@b\xc3\xbccher.example> smtputf8 BODY=8BITMIME", "250 2.1.0 OK"),
        (b"MAIL FROM:<a@example.com> SMTPUTF8=1", "501 5.5.4"),
        (b"MAIL FROM:<\xe4@example.com> SMTPUTF8", "553 5.1.3"),
        (b"MAIL FROM:<a@example.com> RET=FULL", "555 5.5.4"),
        (b"MAIL FROM:<a@example.com> =x", "501 5.5.4"),
        (b"MAIL FROM:<@b.example:a@example.com>", "553 5.1.3"),
        (b"MAIL FROM:<\xc3\xa4@example.com>", "553 5.6.7"),
        (b"MAIL FROM:<a@b\xc3\xbccher.example>", "553 5.6.7"),
        (b"MAIL FROM:a@example.com", "553 5.1.3"),
        (b"MAIL TO:<a@example.com>", "501 5.5.4"),
        (b"MAIL", "501 5.5.4"),
        (b"RCPT TO:<a@example.com>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"DATA x", "501 5.5.4"),
        (b"RSET", "250 2.0.0 OK"),
        (b"RSET x", "501 5.5.4"),
        (b"NOOP anything", "250 2.0.0 OK"),
        (b"VRFY someone", "252 2.5.0"),
        (b"EXPN list", "500 5.5.2"),
        (b"BDAT 5 LAST", " [CHUNK]"),
        (b"bdat 0", " [CHUNK]"),
        (b"BDAT", "501 5.5.4 Write BDAT, a number of octets, and LAST at the end [HANG_UP]"),
        (b"BDAT -1", "501 5.5.4"),
        (b"BDAT 0x5", "501 5.5.4"),
        (b"BDAT 5 FIRST", "501 5.5.4"),
        (b"BDAT 5 LAST LAST", "501 5.5.4"),
        (b"BDAT " + b"9" * 21, "501 5.5.4"),
        (b"HELP", "214 2.0.0"),
        (b"", "500 5.5.2"),
        (b"\xff\xfe", "500 5.5.2"),
        (b" NOOP", "500 5.5.2"),
        (b"EHLO", "501 5.5.4"),
        (b"EHLO two words", "501 5.5.4"),
        (b"HELO client.example", "250 mail.example.com"),
        (b"STARTTLS", "503 5.5.1"),
        (b"AUTH PLAIN", "503 5.5.1"),
        (b"QUIT", "221 2.0.0 Goodbye [QUIT]"),
        (b"GET / HTTP/1.1", "554 5.5.0 This is an SMTP server [HANG_UP]"),
    ],
)
def test_one_line_to_somebody_signed_in(line: bytes, reply: str) -> None:
    assert say(dialogue(), line).startswith(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"AUTH PLAIN", "334"),
        (b"AUTH plain", "334"),
        (b"AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (b"AUTH LOGIN dXNlcg==", "334 UGFzc3dvcmQ6"),
        (b"AUTH PLAIN " + base64.b64encode(b"\0user\0pass"), " [AUTHENTICATE]"),
        (b"AUTH PLAIN " + base64.b64encode(b"user\0user\0pass"), " [AUTHENTICATE]"),
        (b"AUTH PLAIN " + base64.b64encode(b"admin\0user\0pass"), "501 5.5.2"),
        (b"AUTH PLAIN " + base64.b64encode(b"user\0pass"), "501 5.5.2"),
        (b"AUTH PLAIN " + base64.b64encode(b"\0user\0"), "501 5.5.2"),
        (b"AUTH PLAIN " + base64.b64encode(b"\0user\0\xff"), "501 5.5.2"),
        (b"AUTH PLAIN =", "501 5.5.2"),
        (b"AUTH PLAIN !!!!", "501 5.5.2"),
        (b"AUTH PLAIN *", "501 5.5.2"),
        (b"AUTH CRAM-MD5", "504 5.5.4"),
        (b"AUTH", "504 5.5.4"),
        (b"MAIL FROM:<a@example.com>", "530 5.7.0"),
        (b"BDAT 5 LAST", "530 5.7.0 Sign in with AUTH first [HANG_UP]"),
    ],
)
def test_one_line_to_a_stranger(line: bytes, reply: str) -> None:
    assert say(dialogue(signed_in=False), line).startswith(reply)


@pytest.mark.parametrize(
    "verb",
    [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PATCH", b"DELETE", b"TRACE"],
)
def test_browsers_are_sent_away(verb: bytes) -> None:
    words = "554 5.5.0 This is an SMTP server [HANG_UP]"
    assert say(dialogue(tls=False, signed_in=False), verb + b" / HTTP/1.1", is_last=False) == words
    assert say(dialogue(), verb.lower() + b" /") == words


@pytest.mark.parametrize("line", [b"AUTH PLAIN AHVzZXIAcGFzcw==", b"AUTH LOGIN"])
def test_auth_is_not_taken_without_tls(line: bytes) -> None:
    one = dialogue(tls=False, signed_in=False)
    assert say(one, line).startswith("538 5.7.11")
    assert "AUTH" not in say(one, b"EHLO x")


@pytest.mark.parametrize(
    ("lines", "credentials"),
    [
        ([b"AUTH LOGIN", b"dXNlcg==", b"cGFzcw=="], ("user", "pass")),
        ([b"AUTH LOGIN dXNlcg==", b"cGFzcw=="], ("user", "pass")),
        ([b"AUTH PLAIN", b"AHVzZXIAcGFzcw=="], ("user", "pass")),
        ([b"AUTH PLAIN " + base64.b64encode("\0üser\0pässword".encode())], ("üser", "pässword")),
    ],
)
def test_credentials_are_taken_once(lines: list[bytes], credentials: tuple[str, str]) -> None:
    one = dialogue(signed_in=False)
    for line in lines[:-1]:
        assert say(one, line).startswith("334")
    assert say(one, lines[-1]) == " [AUTHENTICATE]"
    assert one.take_credentials() == credentials
    with pytest.raises(RuntimeError):
        one.take_credentials()


def test_a_sign_in_can_be_given_up() -> None:
    one = dialogue(signed_in=False)
    say(one, b"AUTH LOGIN")
    assert say(one, b"*").startswith("501")
    assert say(one, b"NOOP").startswith("250")


def test_only_wrong_passwords_count_as_failures() -> None:
    one = dialogue(signed_in=False)
    for _ in range(5):
        assert one.refuse_sign_in(Reply(454, "4.7.0", "away")).action is Action.CONTINUE
    for _ in range(2):
        assert one.refuse_sign_in(Reply(535, "5.7.8", "wrong")).action is Action.CONTINUE
    last = one.refuse_sign_in(Reply(535, "5.7.8", "wrong"))
    assert (last.reply and last.reply.code, last.action) == (421, Action.HANG_UP)


def test_recipients_beyond_the_limit_wait_for_another_message() -> None:
    one = dialogue()
    say(one, b"MAIL FROM:<a@example.com>")
    for number in range(100):
        assert say(one, b"RCPT TO:<%d@example.com>" % number).startswith("250")
    assert say(one, b"RCPT TO:<x@example.com>").startswith("452 4.5.3")
    assert say(one, b"RCPT TO:<>").startswith("553")
    assert say(one, b"RCPT TO:<x@example.com> NOTIFY=NEVER").startswith("555")
    assert say(one, b"DATA").endswith("[CONTENT]")


def test_a_recipient_beyond_ascii_needs_what_mail_asked_for() -> None:
    name = "RCPT TO:<jürgen@bücher.example>".encode()
    one = dialogue()
    say(one, b"MAIL FROM:<a@example.com>")
    assert say(one, name).startswith("553 5.6.7")
    say(one, b"RSET")
    say(one, b"MAIL FROM:<a@example.com> SMTPUTF8")
    assert say(one, name).startswith("250")
    assert one.envelope
    assert one.envelope.smtputf8
    assert one.envelope.recipients == ["jürgen@xn--bcher-kva.example"]


def test_chunks_come_behind_recipients_and_do_not_mix_with_data() -> None:
    one = dialogue()
    say(one, b"BDAT 5 LAST")
    assert one.refuse_chunk()
    say(one, b"MAIL FROM:<a@example.com>")
    assert one.refuse_chunk()
    say(one, b"RCPT TO:<a@example.com>")
    assert one.refuse_chunk() is None
    say(one, b"BDAT 5")
    assert one.chunk == (5, False)
    assert say(one, b"DATA").startswith("503 5.5.1")
    assert say(one, b"RCPT TO:<b@example.com>").startswith("503 5.5.1")
    say(one, b"RSET")
    say(one, b"MAIL FROM:<a@example.com>")
    assert say(one, b"RCPT TO:<a@example.com>").startswith("250")
    assert say(one, b"DATA").endswith("[CONTENT]")


def test_empty_chunks_are_junk() -> None:
    one = dialogue()
    say(one, b"MAIL FROM:<a@example.com>")
    for _ in range(99):
        assert say(one, b"BDAT 0").endswith("[CHUNK]")
    assert say(one, b"BDAT 0").endswith("[HANG_UP]")


def test_errors_and_junk_have_an_end() -> None:
    one = dialogue()
    for _ in range(20):
        assert say(one, b"WHAT").startswith("500")
    assert say(one, b"WHAT") == "421 4.7.0 Too many errors [HANG_UP]"
    one = dialogue()
    for _ in range(99):
        assert say(one, b"NOOP").startswith("250")
    assert say(one, b"RSET").endswith("[HANG_UP]")


def test_a_message_that_was_taken_makes_up_for_the_junk() -> None:
    one = dialogue()
    for _ in range(90):
        say(one, b"NOOP")
    one.end_message(Reply(250, "2.0.0", "OK"))
    for _ in range(90):
        assert say(one, b"NOOP").startswith("250")


@pytest.mark.parametrize("line", [b"EHLO x", b"HELO x", b"RSET"])
def test_ehlo_and_rset_end_a_transaction(line: bytes) -> None:
    one = dialogue()
    say(one, b"MAIL FROM:<a@example.com>")
    assert say(one, b"MAIL FROM:<a@example.com>").startswith("503")
    say(one, line)
    assert one.envelope is None


def test_tls_forgets_everything() -> None:
    one = dialogue()
    say(one, b"MAIL FROM:<a@example.com>")
    one.start_tls("TLSv1.3")
    assert (one.envelope, one.session.account, one.session.helo) == (None, None, "")
    assert say(one, b"MAIL FROM:<a@example.com>").startswith("503")


@pytest.mark.parametrize("line", [b"EHLO x", b"STARTTLS", b"DATA"])
def test_nothing_may_follow_the_last_command_of_a_group(line: bytes) -> None:
    assert say(dialogue(), line, is_last=False).startswith("554 5.5.0")


@pytest.mark.parametrize(
    "line", [b"AUTH PLAIN c2VjcmV0", b"c2VjcmV0", b"QUIT c2VjcmV0", b"auth plain c2VjcmV0"]
)
def test_nothing_that_could_be_a_credential_is_logged(line: bytes) -> None:
    assert "c2VjcmV0" not in dialogue(signed_in=False).loggable(line)


def test_answers_of_a_sign_in_are_not_logged() -> None:
    one = dialogue(signed_in=False)
    say(one, b"AUTH LOGIN")
    assert one.loggable(b"MAIL FROM:<secret>") == "(not logged)"


def test_long_lines_are_for_auth_only() -> None:
    one = dialogue(signed_in=False)
    assert [one.line_limit(start) for start in (b"MAIL ", b"auth ")] == [512, 12_288]
    say(one, b"AUTH LOGIN")
    assert one.line_limit(b"c2Vjc") == 12_288


def test_recipients_in_excess_are_put_off_and_not_held_against_the_client() -> None:
    one = dialogue(recipients=2, errors=3, recipients_in_excess=10)
    say(one, b"MAIL FROM:<a@example.com>")
    replies = [say(one, b"RCPT TO:<r%d@example.net>" % number) for number in range(13)]
    assert [reply[:3] for reply in replies] == ["250"] * 2 + ["452"] * 10 + ["421"]
