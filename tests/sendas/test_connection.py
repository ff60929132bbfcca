"""The words for each way a connection test ends, against real servers."""

import asyncio
import html
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Event

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone

from sendas.models import ConnectionTest
from sendas.services import connection, outcomes
from sendas.services.outcomes import ConnectionTestError, TestStep
from sendas.services.sign_in_replies import Refusal, judge_refusal
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply, ReplyParser
from tests.sendas.bad_servers import BAD_SERVERS, STALLS, stalling_at
from tests.sendas.conftest import CANARY, PARTNER, gateway_at, partner_server
from tests.smtp.certificates import Authority

WORDS_OF_STALLS = {
    "sign-in": "is a mail server, but stopped answering at the sign-in",
    "sender": "accepts the password, but takes no mail",
}


def refusal(user, gateway) -> ConnectionTestError:
    with pytest.raises(ConnectionTestError) as caught:
        connection.check_connection(user=user, address=PARTNER, gateway=gateway)
    assert CANARY not in caught.value.text + caught.value.reply + repr(caught.value)
    return caught.value


def test_a_server_that_accepts_the_password_passes(owner, partner):
    connection.check_connection(user=owner, address=PARTNER, gateway=gateway_at(partner.port))
    assert partner.tried == [CANARY]


def test_tls_from_the_start_passes_too(owner, trusted, open_ports):
    tls = trusted.server_context()
    with partner_server(tls_from_start=tls, auth_require_tls=False) as server:
        open_ports(server.port)
        gateway = gateway_at(server.port, security_mode="ssl")
        connection.check_connection(user=owner, address=PARTNER, gateway=gateway)
    assert server.tried == [CANARY]


def test_a_wrong_password_is_told_with_the_servers_own_reply(owner, partner):
    error = refusal(owner, gateway_at(partner.port, password="another one"))
    assert (error.step, error.field) == (TestStep.SIGN_IN, "password")
    assert "does not accept this user name and password" in error.text
    assert error.reply.startswith("535 5.7.8")


def test_a_certificate_for_another_name_gets_no_password(owner, trusted, open_ports):
    tls = trusted.server_context(names=("mx07.hosting.example",))
    with partner_server(tls_context=tls) as server:
        open_ports(server.port)
        error = refusal(owner, gateway_at(server.port))
    assert (error.step, error.field) == (TestStep.CERTIFICATE, "host")
    assert "another name than localhost" in error.text
    assert "Your password was not sent" in error.text
    assert server.tried == []


def test_an_expired_certificate_gets_no_password(owner, trusted, open_ports):
    with partner_server(tls_context=trusted.server_context(expired=True)) as server:
        open_ports(server.port)
        error = refusal(owner, gateway_at(server.port))
    assert "has expired" in error.text
    assert server.tried == []


def test_an_unknown_authority_gets_no_password(owner, authority, open_ports):
    with partner_server(tls_context=authority.server_context()) as server:
        open_ports(server.port)
        error = refusal(owner, gateway_at(server.port))
    assert "authority that is not known" in error.text
    assert server.tried == []


def test_a_server_without_encryption_gets_no_password(owner, open_ports):
    with partner_server(auth_require_tls=False) as server:
        open_ports(server.port)
        error = refusal(owner, gateway_at(server.port))
    assert (error.step, error.field) == (TestStep.ANSWER, "security_mode")
    assert "offers no encryption" in error.text
    assert server.tried == []


def _answer_once(listener: socket.socket, banner: bytes) -> None:
    with listener.accept()[0] as client:
        client.sendall(banner)


def test_closed_and_foreign_ports_have_one_text(owner, open_ports):
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        open_ports(port)
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(_answer_once, foreign, b"SSH-2.0-secret_banner\r\n")
            spoken = refusal(owner, gateway_at(port))
            answer.result()
    closed = refusal(owner, gateway_at(port))
    assert spoken.text == closed.text
    assert (closed.step, closed.field) == (TestStep.ANSWER, "host")
    assert "secret_banner" not in spoken.text + spoken.reply


def test_private_and_missing_names_have_one_text_and_one_time(owner, settings):
    settings.OUTGATE_EGRESS_NETWORKS = ()
    connection.egress_guard.cache_clear()
    texts, times = [], []
    for host in ("localhost", "10.0.0.1", "no-such-host.example"):
        begun = time.monotonic()
        error = refusal(owner, gateway_at(587, host=host))
        times.append(time.monotonic() - begun)
        texts.append(error.text.replace(host, "HOST"))
        assert (error.step, error.field) == (TestStep.NAME, "host")
    connection.egress_guard.cache_clear()
    assert len(set(texts)) == 1
    assert min(times) >= connection.NO_ADDRESS_SECONDS
    assert max(times) - min(times) < 0.5


def test_a_port_that_the_operator_did_not_allow_is_named(owner):
    error = refusal(owner, gateway_at(25))
    assert (error.step, error.field) == (TestStep.NAME, "port")
    assert "does not allow port 25" in error.text


def test_our_own_servers_are_no_gateway(owner, settings, open_ports):
    open_ports(settings.OUTGATE_SUBMISSION_PORT)
    for port in (2525, settings.OUTGATE_SUBMISSION_PORT):  # the relay, and ourselves
        error = refusal(owner, gateway_at(port))
        assert "this organisation's own server" in error.text


def test_ten_tests_an_hour_and_no_more(owner, colleague, partner):
    ConnectionTest.objects.bulk_create(ConnectionTest(user=owner) for _ in range(10))
    ConnectionTest.objects.update(at=Now() - timedelta(minutes=40))
    error = refusal(owner, gateway_at(partner.port))
    assert error.step == TestStep.NOT_TRIED
    possible = timezone.localtime(ConnectionTest.objects.first().at).replace(microsecond=0)
    possible += timedelta(hours=1)
    hour, minute = re.search(r"Test again at (?:.*, )?(\d\d):(\d\d)\.", error.text).groups()
    told = timedelta(hours=int(hour), minutes=int(minute))
    since_midnight = possible - possible.replace(hour=0, minute=0, second=0)
    assert (told - since_midnight) % timedelta(days=1) < timedelta(minutes=1)
    assert partner.tried == []
    connection.check_connection(user=colleague, address=PARTNER, gateway=gateway_at(partner.port))


@pytest.mark.django_db(transaction=True)
def test_tests_at_once_count_each_other(owner):
    ConnectionTest.objects.bulk_create(ConnectionTest(user=owner) for _ in range(8))

    def attempt(_number: int) -> str:
        try:
            return refusal(owner, gateway_at(25)).step.name
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        steps = list(pool.map(attempt, range(6)))
    assert steps.count("NAME") == 2
    assert steps.count("NOT_TRIED") == 4


def test_the_settings_never_show_the_password():
    assert CANARY not in repr(gateway_at(587))
    assert CANARY not in f"{gateway_at(587)}"


@pytest.fixture
def other_authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("bad", BAD_SERVERS, ids=lambda bad: bad.name)
def test_each_bad_server_has_words_of_its_own(owner, trusted, other_authority, open_ports, bad):
    with bad.opened(trusted, other_authority) as port:
        open_ports(port)
        error = refusal(owner, gateway_at(port))
    assert bad.words in html.escape(error.text)
    assert error.topic in outcomes.TOPICS
    others = {other.words for other in BAD_SERVERS} - {bad.words}
    assert not [words for words in others if words in html.escape(error.text)]
    assert "secret_banner" not in error.text + error.reply


def test_login_is_used_where_it_is_the_only_way(owner, trusted, open_ports):
    tls = trusted.server_context()
    with partner_server(tls_context=tls, auth_exclude_mechanism=["PLAIN"]) as server:
        open_ports(server.port)
        connection.check_connection(user=owner, address=PARTNER, gateway=gateway_at(server.port))
    assert server.tried == [CANARY]


def test_the_address_is_offered_as_sender_and_nothing_is_sent(owner, partner):
    connection.check_connection(user=owner, address=PARTNER, gateway=gateway_at(partner.port))
    assert partner.senders == [PARTNER]
    partner.refused_senders[PARTNER] = "553 5.7.1 Not yours"
    error = refusal(owner, gateway_at(partner.port))
    assert (error.step, error.field) == (TestStep.SENDER, "username")
    assert error.reply == "553 5.7.1 Not yours"


@pytest.mark.django_db(transaction=True)
def test_wherever_a_server_stalls_the_answer_comes_within_ten_seconds(owner, trusted, open_ports):
    """All at once, for each of them takes its time."""

    def told(port: int) -> tuple[str, float]:
        begun = time.monotonic()
        try:
            return refusal(owner, gateway_at(port)).text, time.monotonic() - begun
        finally:
            database.close()

    with ExitStack() as stack:
        ports = [stack.enter_context(stalling_at(step, trusted)) for step in STALLS]
        open_ports(*ports)
        with ThreadPoolExecutor(len(STALLS)) as pool:
            heard = dict(zip(STALLS, pool.map(told, ports), strict=True))
    for step, (text, seconds) in heard.items():
        assert seconds < 10, step
        assert WORDS_OF_STALLS.get(step, "No mail server answers like that") in text, step


def test_work_that_never_ends_ends_in_time_even_if_a_thread_goes_on():
    """The system's resolver blocks a thread while its servers are away."""
    done = Event()

    async def look_up() -> None:
        await asyncio.get_running_loop().run_in_executor(None, done.wait)

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        connection.run_within(0.2, look_up())
    assert time.monotonic() - begun < 5
    done.set()


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        ("534-5.7.9 Application-specific password required. Learn more", Refusal.APP_PASSWORD),
        ("535 5.7.8 Please use an app password", Refusal.APP_PASSWORD),
        ("535 5.7.8 Application password needed", Refusal.APP_PASSWORD),
        ("535 5.7.8 Use an app-specific password", Refusal.APP_PASSWORD),
        ("535 5.7.8 Username and Password not accepted", Refusal.WRONG_PASSWORD),
        ("535 5.7.139 Authentication unsuccessful, the user credentials were incorrect",
         Refusal.WRONG_PASSWORD),
        ("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
         Refusal.PASSWORDS_OFF),
        ("535 5.7.139 SmtpClientAuthentication is disabled for the Mailbox", Refusal.PASSWORDS_OFF),
        ("534 5.7.14 Please log in with your web browser", Refusal.WRONG_PASSWORD),
        ("454 4.7.0 Too many login attempts", Refusal.PUT_OFF),
        ("432 4.7.12 A password transition is needed", Refusal.PUT_OFF),
    ],
)  # fmt: skip
def test_what_servers_say_about_a_sign_in_is_mapped_once(reply, meaning):
    (parsed,) = ReplyParser().feed(reply.replace("-", " ", 1).encode() + b"\r\n")
    assert judge_refusal(parsed) == meaning


def test_a_known_provider_says_what_it_wants_instead_of_a_password():
    reply = Reply(535, "5.7.8", "Username and Password not accepted")
    failure = SmtpFailure(FailureKind.AUTH_REFUSED, Step.AUTH, reply=reply)
    about = {"port": 587, "address": PARTNER, "least_tls": "1.2"}
    error = outcomes.explain_outcome(failure, host="smtp.gmail.com", **about)
    assert "Google: Turn on 2-Step Verification" in error.text
    error = outcomes.explain_outcome(failure, host="smtp.partnerdomain.com", **about)
    assert "Google" not in error.text
