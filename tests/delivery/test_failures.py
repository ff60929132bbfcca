"""What a mail program hears: nothing that it could take for a word about its own session."""

import pytest

from delivery.failures import explain_failure
from delivery.routing import Explanation, Route, RouteKind, Rule
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from smtp.target import Security, Server

ADDRESS = "user.name@partner.example"
ROUTE = Route(
    RouteKind.GATEWAY,
    Server("smtp.partner.example", 587, Security.STARTTLS),
    ADDRESS,
    Explanation(Rule.GATEWAY, True, "Sales", 1, "Sales", 1),
)


@pytest.mark.parametrize(
    ("said", "heard"),
    [(421, 451), (432, 451), (454, 451), (530, 554), (534, 554), (535, 554), (538, 554),
     (550, 550), (552, 552), (451, 451)],
)  # fmt: skip
def test_no_code_makes_a_mail_program_ask_for_a_password(said, heard):
    failure = SmtpFailure(FailureKind.REFUSED, Step.MAIL, reply=Reply(said, "", "Sign in first"))
    reply = explain_failure(failure, ROUTE, ADDRESS)
    assert reply.code == heard
    assert f"said: {said} Sign in first" in reply.text


@pytest.mark.parametrize(("said", "heard"), [(421, 451), (554, 554)])
def test_a_banner_is_not_passed_on(said, heard):
    banner = Reply(said, "", "printer-7.internal ready")
    failure = SmtpFailure(FailureKind.REFUSED, Step.GREETING, reply=banner)
    reply = explain_failure(failure, ROUTE, ADDRESS)
    assert reply.code == heard
    assert "printer" not in reply.text


def test_a_busy_server_is_not_called_unreachable():
    reply = explain_failure(SmtpFailure(FailureKind.TIMEOUT, Step.POOL), ROUTE, ADDRESS)
    assert reply.code == 451
    assert "has too much to do" in reply.text


def test_what_the_server_never_heard_is_not_put_into_its_mouth():
    reply = Reply(554, "5.6.7", "The next server does not take it")
    failure = SmtpFailure(FailureKind.NOT_OFFERED, Step.MAIL, reply=reply)
    heard = explain_failure(failure, ROUTE, ADDRESS)
    assert (heard.code, heard.enhanced) == (554, "5.6.7")
    assert heard.text.startswith("The next server does not take it (smtp.partner.example). Nothing")
