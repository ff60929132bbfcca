"""What is found out about the server of an address, from a real DNS and a real web server."""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from django.urls import reverse

from sendas.models import ConnectionTest
from sendas.services.discovery import Proposal, Source, propose_settings
from sendas.services.providers import PROVIDERS, SignIn, provider_behind
from tests.sendas.conftest import make_send_as
from tests.smtp.certificates import Authority

# Of a top-level domain that nobody can have, so that no test asks a stranger.
PARTNER = "user.name@partner.example"
SUBMISSIONS = ("_submissions._tcp.partner.example.", "SRV")
SUBMISSION = ("_submission._tcp.partner.example.", "SRV")
MX = ("partner.example.", "MX")
LOCAL = "user.name@localhost"

CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="localhost">
    <domain>localhost</domain>
    <incomingServer type="imap"><hostname>imap.localhost</hostname></incomingServer>
    {servers}
  </emailProvider>
</clientConfig>"""


def outgoing(
    *, host: str = "smtp.%EMAILDOMAIN%", port: str = "465", socket_type: str = "SSL",
    username: str = "%EMAILLOCALPART%", ways: tuple[str, ...] = ("password-cleartext",),
) -> str:  # fmt: skip
    authentication = "".join(f"<authentication>{way}</authentication>" for way in ways)
    return (
        f'<outgoingServer type="smtp"><hostname>{host}</hostname><port>{port}</port>'
        f"<socketType>{socket_type}</socketType><username>{username}</username>"
        f"{authentication}</outgoingServer>"
    )


class WebServer(ThreadingHTTPServer):
    """Answers every GET with `status`, `headers` and `body`; `asked` holds the targets."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.status, self.headers, self.body = 200, {}, b""
        self.seconds_before_body = 0.0
        self.asked: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off is what some of these tests want."""


class Answer(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        time.sleep(self.server.seconds_before_body)
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def running(context: ssl.SSLContext) -> Iterator[WebServer]:
    server = WebServer(context)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def web(trusted: Authority) -> Iterator[WebServer]:
    """https://localhost, with a certificate that the application trusts."""
    yield from running(trusted.server_context())


def propose(user, *, address: str = PARTNER, https_port: int = 1) -> Proposal:
    return propose_settings(user=user, address=address, https_port=https_port)


def test_the_domains_own_record_comes_first(owner, dns):
    dns.records = {
        SUBMISSIONS: ["20 1 465 second.partner.example.", "10 1 465 First.partner.example."],
        SUBMISSION: ["0 1 587 starttls.partner.example."],
        MX: ["10 aspmx.l.google.com."],
    }
    found = propose(owner)
    assert found.source == Source.RECORD
    assert (found.host, found.port, found.security_mode) == (
        "first.partner.example", 465, "ssl",
    )  # fmt: skip
    assert found.username == PARTNER
    assert found.provider is None  # whoever receives the mail, this server is another
    assert not ConnectionTest.objects.exists()


def test_starttls_is_taken_where_tls_from_the_start_is_not_offered(owner, dns):
    dns.records = {
        SUBMISSIONS: ["0 0 0 ."],
        SUBMISSION: ["0 1 587 mail.partner.example."],
    }
    found = propose(owner)
    assert (found.host, found.port, found.security_mode) == (
        "mail.partner.example", 587, "starttls",
    )  # fmt: skip


@pytest.mark.parametrize(
    "record", ["0 0 0 .", "0 1 25 mail.partner.example.", "0 1 465 127.0.0.1.", "0 1 465 10.1."]
)
def test_records_that_can_not_be_used_are_left_out(owner, dns, record):
    dns.records = {SUBMISSIONS: [record]}
    assert propose(owner).source == Source.NOTHING


def test_settings_that_the_domain_publishes_are_read(owner, dns, web):
    web.body = CONFIG.format(servers=outgoing()).encode()
    found = propose(owner, address=LOCAL, https_port=web.server_port)
    assert found == Proposal(Source.PUBLISHED, "smtp.localhost", 465, "ssl", "user.name")
    assert web.asked == [
        "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=user.name%40localhost"
    ]
    assert ConnectionTest.objects.filter(user=owner).count() == 1


def test_a_server_that_takes_passwords_is_preferred_to_one_that_takes_none(owner, dns, web):
    web.body = CONFIG.format(
        servers=outgoing(host="oauth.localhost", ways=("OAuth2",))
        + outgoing(host="plain.localhost", socket_type="plain")
        + outgoing(host="old.localhost", socket_type="STARTTLS", port="587", ways=("plain",))
    ).encode()
    found = propose(owner, address=LOCAL, https_port=web.server_port)
    assert (found.host, found.security_mode) == ("old.localhost", "starttls")
    assert found.takes_some_password
    web.body = CONFIG.format(servers=outgoing(ways=("OAuth2",))).encode()
    found = propose(owner, address=LOCAL, https_port=web.server_port)
    assert (found.host, found.takes_some_password) == ("smtp.localhost", False)


BOMB = """<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>"""


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {}, CONFIG.format(servers=outgoing())),
        (302, {"Location": "https://localhost/other.xml"}, CONFIG.format(servers=outgoing())),
        (200, {}, ""),
        (200, {}, "<html><p>Not that"),
        (200, {}, "<clientConfig/>"),
        (200, {}, "\0\xff"),
        (200, {}, CONFIG.format(servers=outgoing() + " " * 66_000)),
        (200, {}, BOMB + CONFIG.format(servers=outgoing()).partition("?>")[2]),
        (200, {}, CONFIG.format(servers=outgoing(host="127.0.0.1"))),
        (200, {}, CONFIG.format(servers=outgoing(host="smtp.localhost/x y"))),
        (200, {}, CONFIG.format(servers=outgoing(port="25"))),
        (200, {}, CONFIG.format(servers=outgoing(port="٤٦٥"))),
        (200, {}, CONFIG.format(servers=outgoing(socket_type="plain"))),
        (200, {}, "<clientConfig>" + "<a>" * 9_000),
        (200, {}, "<?xml version='1.0' encoding='no-such'?><clientConfig/>"),
    ],
    ids=[
        "missing", "redirect", "empty", "html", "nothing in it", "binary", "too long",
        "document type", "literal", "no name", "forbidden port", "no number", "plaintext", "deep",
        "unknown encoding",
    ],
)  # fmt: skip
def test_documents_that_can_not_be_used_are_left_out(owner, dns, web, status, headers, body):
    web.status, web.headers, web.body = status, headers, body.encode()
    found = propose(owner, address=LOCAL, https_port=web.server_port)
    assert found.source == Source.NOTHING
    assert len(web.asked) == 1  # a redirect leads nowhere


def test_a_web_server_that_is_not_verified_is_not_read(owner, dns, authority):
    for server in running(authority.server_context()):
        server.body = CONFIG.format(servers=outgoing()).encode()
        found = propose(owner, address=LOCAL, https_port=server.server_port)
        assert (found.source, server.asked) == (Source.NOTHING, [])


def test_a_private_web_server_is_not_asked_and_missing_and_private_take_the_same_time(
    owner, dns, web, settings
):
    settings.OUTGATE_EGRESS_NETWORKS = ()
    web.body = CONFIG.format(servers=outgoing()).encode()
    times = []
    for address in (LOCAL, "user@no-such-host.example"):
        begun = time.monotonic()
        found = propose(owner, address=address, https_port=web.server_port)
        times.append(time.monotonic() - begun)
        assert found.source == Source.NOTHING
    assert web.asked == []
    assert abs(times[0] - times[1]) < 0.5


def test_silent_servers_are_not_waited_for(owner, dns, web):
    dns.silent = True
    web.seconds_before_body = 8
    web.body = CONFIG.format(servers=outgoing()).encode()
    begun = time.monotonic()
    assert propose(owner, address=LOCAL, https_port=web.server_port).source == Source.NOTHING
    assert time.monotonic() - begun < 7


def test_a_port_that_never_answers_is_not_waited_for(owner, dns):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        found = propose(owner, address=LOCAL, https_port=silent.getsockname()[1])
    assert found.source == Source.NOTHING
    assert time.monotonic() - begun < 5


def test_after_ten_tests_no_web_server_is_asked(owner, dns, web):
    ConnectionTest.objects.bulk_create(ConnectionTest(user=owner) for _ in range(10))
    web.body = CONFIG.format(servers=outgoing()).encode()
    found = propose(owner, address=LOCAL, https_port=web.server_port)
    assert (found.source, web.asked) == (Source.NOTHING, [])


@pytest.mark.parametrize(
    ("mail_host", "host", "sign_in"),
    [
        ("alt1.aspmx.l.google.com.", "smtp.gmail.com", SignIn.APP_PASSWORD),
        ("partnerdomain-com.mail.protection.outlook.com.", "smtp.office365.com",
         SignIn.NO_PASSWORD),
        ("outlook-com.olc.protection.outlook.com.", "smtp-mail.outlook.com", SignIn.NO_PASSWORD),
        ("mx01.mail.icloud.com.", "smtp.mail.me.com", SignIn.APP_PASSWORD),
        ("mx00.ionos.de.", "smtp.ionos.de", SignIn.PASSWORD),
    ],
)  # fmt: skip
def test_a_known_provider_is_recognised_by_who_receives_the_mail(
    owner, dns, mail_host, host, sign_in
):
    dns.records = {MX: ["20 backup.example.", f"10 {mail_host}"]}
    found = propose(owner)
    assert (found.source, found.host) == (Source.PROVIDER, host)
    assert found.provider.sign_in == sign_in
    assert found.takes_some_password == (sign_in is not SignIn.NO_PASSWORD)


def test_a_name_that_only_looks_like_a_providers_is_none():
    assert provider_behind("mx.notgoogle.com") is None
    assert provider_behind("google.com.evil.example") is None


def test_each_provider_is_usable_and_says_what_it_wants():
    for provider in PROVIDERS:
        assert provider_behind(provider.host).host == provider.host
        assert provider.port in {465, 587}
        assert (provider.security == "ssl") == (provider.port == 465)
        assert bool(provider.hint) == (provider.sign_in is not SignIn.PASSWORD)


def test_a_usual_name_is_proposed_as_the_guess_that_it_is(owner, dns):
    public = {"smtp.partner.example": [], "mail.partner.example": ["198.41.0.4"]}
    found = propose_settings(
        user=owner, address=PARTNER, https_port=1, look_up=lambda name: public.get(name, [])
    )
    assert (found.source, found.host, found.port) == (
        Source.USUAL_NAME, "mail.partner.example", 587,
    )  # fmt: skip


def test_a_usual_name_that_is_bent_inwards_is_none(owner, dns):
    found = propose_settings(
        user=owner, address=PARTNER, https_port=1, look_up=lambda name: ["198.41.0.4", "10.0.0.1"]
    )
    assert found.source == Source.NOTHING


def test_the_file_is_read_from_the_autoconfig_host_first(owner, dns, trusted):
    context = trusted.server_context(names=("autoconfig.partner.example",))
    for server in running(context):
        server.body = CONFIG.format(servers=outgoing()).encode()
        found = propose_settings(
            user=owner,
            address=PARTNER,
            https_port=server.server_port,
            look_up=lambda name: ["127.0.0.1"] if name.startswith("autoconfig.") else [],
        )
        assert server.asked == ["/mail/config-v1.1.xml?emailaddress=user.name%40partner.example"]
    assert (found.source, found.host) == (Source.PUBLISHED, "smtp.partner.example")


def test_switched_off_nobody_is_asked(owner, dns, settings):
    settings.OUTGATE_FIND_SETTINGS = False
    assert propose(owner) == Proposal()
    assert dns.asked == []


# The pages

ADD = "/settings/send-as/add/"
NEW = {"display_name": "User Name", "address": PARTNER, "treat_as_alias": "on"}


def second_step(client, owner) -> str:
    client.force_login(owner)
    return client.post(ADD, NEW, follow=True).content.decode()


def test_the_second_step_is_filled_in_and_names_the_source(client, owner, allowed, dns):
    dns.records = {SUBMISSIONS: ["0 1 465 mail.partner.example."]}
    html = second_step(client, owner)
    assert "Found by the domain’s own record" in html
    assert 'name="host" value="mail.partner.example"' in html
    assert '<option value="465" selected>' in html
    assert '<option value="ssl" selected>' in html
    assert f'name="username" value="{PARTNER}"' in html


def test_a_provider_without_passwords_is_named_before_one_is_typed(client, owner, allowed, dns):
    dns.records = {MX: ["0 partnerdomain-com.mail.protection.outlook.com."]}
    html = second_step(client, owner)
    assert "As a rule Microsoft 365 takes no passwords from other programs" in html
    assert 'value="ours" id="id_route_1" checked' in html.replace(' class="form-check-input"', "")


def test_a_provider_that_wants_an_app_password_says_where_to_get_one(client, owner, allowed, dns):
    dns.records = {MX: ["0 aspmx.l.google.com."]}
    html = second_step(client, owner)
    assert "Google wants an app password, not the password of the account" in html
    assert "Turn on 2-Step Verification" in html


def test_a_domain_that_says_nothing_leaves_the_fields_to_be_typed(client, owner, allowed, dns):
    html = second_step(client, owner)
    assert 'name="host" value=' not in html
    before = len(dns.asked)
    client.post(ADD, NEW)  # back, and on again: what was found is kept
    assert len(dns.asked) == before


def test_the_server_of_an_address_that_was_added_before_can_be_looked_for(
    client, owner, allowed, dns
):
    dns.records = {SUBMISSIONS: ["0 1 465 mail.partner.example."]}
    send_as = make_send_as(owner, address=PARTNER)
    page = reverse("sendas:edit", args=[send_as.pk])
    client.force_login(owner)
    assert "Look for its server" in client.get(page).content.decode()
    assert dns.asked == []
    typed = {"display_name": "Typed", "reply_to_address": "no address", "route": "ours"}
    html = client.post(page, {**typed, "find": ""}).content.decode()
    assert "Found by the domain’s own record" in html
    assert 'name="host" value="mail.partner.example"' in html
    assert 'name="display_name" value="Typed"' in html
    assert 'name="reply_to_address" value="no address"' in html
    assert re.search(r'name="treat_as_alias"(?![^>]*checked)', html)
    send_as.refresh_from_db()
    assert send_as.display_name == "User Name"


def test_nobody_asks_for_an_address_that_may_have_no_server(client, owner, dns):
    send_as = make_send_as(owner, address=PARTNER)
    page = reverse("sendas:edit", args=[send_as.pk])
    client.force_login(owner)
    assert "Look for its server" not in client.get(page).content.decode()
    html = client.post(page, {"display_name": "Typed", "find": ""}).content.decode()
    assert 'name="display_name" value="Typed"' in html
    assert dns.asked == []
    send_as.refresh_from_db()
    assert send_as.display_name == "User Name"
