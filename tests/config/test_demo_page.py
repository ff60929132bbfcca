"""The page that shows which server carried what."""

import re
import shlex
import time

import pytest
from django.urls import reverse

from config.captured_mail import Received, newest_captured, read_received
from config.demo_mail import Capture
from delivery.models import Delivery
from delivery.routing import Explanation, Rule
from sendas.models import SendAs
from tests.support import assert_fits_the_policy, count_queries

PARTNER = "user.name@partnerdomain.com"
PRIMARY = "user@yourdomain.com"


@pytest.fixture
def data_dir(tmp_path, settings, monkeypatch):
    settings.OUTGATE_DEMO = True
    monkeypatch.setenv("OUTGATE_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def keep(data_dir):
    """Put a message into a server's Maildir as the demo's servers do."""
    for server in ("ours", "partner"):
        Capture(data_dir / "demo" / server, "mail.example")

    def keep_one(server, *, sender=PRIMARY, from_address=PRIMARY, number=1, **fields):
        by = "mail.yourdomain.com" if server == "ours" else "smtp.partnerdomain.com"
        with_ = "ESMTPS" if server == "ours" else "ESMTPSA"
        lines = [
            f"X-Envelope-From: {sender}",
            "X-Envelope-To: claire@customer.example",
            f"Received: from localhost ([127.0.0.1])\r\n\tby {by} with {with_} id x;\r\n\ttoday",
            f"From: User Name <{from_address}>",
            f"Message-ID: <{number}@example.com>",
            *(f"{name}: {value}" for name, value in fields.items()),
        ]
        file = data_dir / "demo" / server / "new" / f"{time.time_ns()}.P1Q{number}.{by}"
        file.write_bytes("\r\n".join([*lines, "", "The body.\r\n"]).encode())
        return file.name

    return keep_one


def log(user, route, rule, *, number=1, state=Delivery.State.DELIVERED):
    explanation = Explanation(
        rule=rule, gateways_allowed=True, deciding_unit="Sales", version=1, unit="", cohort=3
    )
    return Delivery.objects.create(
        account=user,
        account_address=user.primary_address,
        message_id=f"<{number}@example.com>",
        state=state,
        route=route,
        explanation=explanation.as_json(),
    )


@pytest.fixture
def page(client, owner):
    """The page as the owner sees it."""
    client.force_login(owner)

    def read(query="", **headers):
        response = client.get(f"/demo/{query}", headers=headers)
        assert response.status_code == 200
        html = response.content.decode()
        assert_fits_the_policy(html)
        return html

    return read


def words(html):
    return " ".join(re.sub(r"<(?!/?mark)[^>]*>", " ", html).split())


def test_the_page_is_there_in_a_demo_only(client, owner, settings):
    client.force_login(owner)
    assert not settings.OUTGATE_DEMO
    assert client.get("/demo/").status_code == 404
    assert client.get("/demo/ours/x").status_code == 404


def test_who_is_not_signed_in_is_sent_to_the_sign_in(client, keep):
    name = keep("ours")
    for url in ("/demo/", reverse("demo_source", args=["ours", name])):
        assert client.get(url).url.startswith("/sign-in/?next=/demo/")


def test_the_page_is_only_read(client, owner, data_dir):
    client.force_login(owner)
    assert client.post("/demo/").status_code == 405


def test_with_nothing_captured_it_says_what_will_stand_here(page, data_dir):
    assert "No message yet" in page()


def test_a_message_on_behalf_marks_the_primary_address(page, owner, keep):
    keep("ours", from_address=PARTNER, Sender=PRIMARY, Subject="Before the switch")
    log(owner, "default", Rule.GATEWAY_OFF)
    shown = words(page())
    assert "Before the switch" in shown
    assert f"Envelope <mark>{PRIMARY}</mark> → claire@customer.example" in shown
    assert f"From {PARTNER} Sender <mark>{PRIMARY}</mark>" in shown
    assert "Received by mail.yourdomain.com, from localhost, with TLS The address has" in shown
    assert "gateways are off for Sales" in shown


def test_a_message_through_the_gateway_stands_in_the_partners_lane(page, owner, keep):
    keep("partner", sender=PARTNER, from_address=PARTNER)
    log(owner, "gateway", Rule.GATEWAY)
    html = page()
    assert "lane-partner" in html
    assert "lane-ours" not in html
    shown = words(html)
    assert f"Envelope {PARTNER} → claire@customer.example From {PARTNER} Sender none" in shown
    assert "by smtp.partnerdomain.com, from localhost, with TLS, signed in" in shown
    assert "Gateways are on for Sales" in shown
    assert "<mark>" not in shown.split("Envelope")[1]


def test_the_primary_address_is_not_marked_where_it_is_the_from(page, owner, keep):
    keep("ours")
    log(owner, "default", Rule.PRIMARY)
    assert "<mark>" not in page().split("<dl")[1]


def test_a_refused_attempt_is_not_taken_for_the_message(page, owner, keep):
    keep("ours")
    log(owner, "default", Rule.PRIMARY)
    log(owner, "default", Rule.UNVERIFIED, state=Delivery.State.REFUSED)
    assert "The primary address always leaves by our servers." in page()


def test_outgates_own_mail_and_that_of_strangers_have_a_reason_too(page, keep, settings):
    keep("ours", from_address=settings.OUTGATE_FROM_ADDRESS, number=1)
    keep("ours", from_address="somebody@elsewhere.example", number=2)
    shown = words(page())
    assert "Outgate wrote this itself" in shown
    assert "No account handed this in." in shown


def test_the_newest_stands_first_and_fifty_of_each_server_are_shown(page, keep):
    for number in range(51):
        keep("ours", number=number, Subject=f"Ours {number}.")
    keep("partner", number=60, Subject="The partner's.")
    subjects = re.findall(r'<h3 class="h4">(.*?)</h3>', page())
    assert subjects == ["The partner&#x27;s.", *(f"Ours {number}." for number in range(50, 0, -1))]


def test_the_page_costs_the_same_queries_with_more_messages(client, support, owner, keep):
    def make_rows(numbers):
        for number in numbers:
            keep("ours", number=number)
            log(owner, "default", Rule.PRIMARY, number=number)

    client.force_login(support)
    make_rows(range(10))
    before = count_queries(client, "/demo/")
    make_rows(range(10, 20))
    assert count_queries(client, "/demo/") == before


def test_polling_gets_the_lanes_alone_and_nothing_while_nothing_is_new(page, client, keep):
    keep("ours", Subject="First")
    lanes = page(**{"HX-Request": "true"})
    assert "First" in lanes
    assert "<html" not in lanes
    (poll,) = re.findall(r'hx-get="([^"]+)"', lanes)
    assert client.get(poll, headers={"HX-Request": "true"}).status_code == 204
    keep("partner", Subject="Second")
    again = client.get(poll, headers={"HX-Request": "true"})
    assert again.status_code == 200
    assert "Second" in again.content.decode()


def test_a_message_is_text_and_nothing_else(page, client, keep):
    name = keep("ours", Subject="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)" in page()
    source = client.get(reverse("demo_source", args=["ours", name]))
    assert source["Content-Type"] == "text/plain; charset=utf-8"
    assert source["X-Content-Type-Options"] == "nosniff"
    assert b"".join(source.streaming_content).endswith(b"\r\n\r\nThe body.\r\n")


@pytest.mark.parametrize("path", ["ours/nothing", "theirs/x", "ours/..", "ours/%2e%2e%2fsecret"])
def test_no_other_file_can_be_read(page, client, keep, data_dir, path):
    (data_dir / "demo" / "ours" / "secret").write_text("secret")
    assert client.get(f"/demo/{path}").status_code == 404


def test_support_staff_get_a_link_to_the_delivery(client, owner, support, keep, page):
    keep("ours")
    delivery = log(owner, "default", Rule.PRIMARY)
    assert f"/support/delivery/delivery/{delivery.pk}/change/" not in page()
    client.force_login(support)
    assert f"/support/delivery/delivery/{delivery.pk}/change/" in page()


def test_the_command_for_swaks_is_ready_but_for_the_password(page, owner, data_dir):
    assert "swaks --tls" not in page()
    SendAs.objects.create(user=owner, send_as_email=PARTNER, verification_status="accepted")
    (command,) = re.findall(r'<code class="quote">(.*?)</code>', page("?swaks=1"))
    words = shlex.split(command)
    assert words[:3] == ["swaks", "--tls", "--tls-verify"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--port"] == "1587"
    assert options["--tls-ca-path"] == str(data_dir / "certificates" / "ca.pem")
    assert options["--auth-user"] == PRIMARY
    assert options["--auth-password"] == "APP-PASSWORD"
    assert options["--from"] == PARTNER


def test_a_received_field_in_another_form_is_shown_as_it_is():
    assert read_received("from a by b with SMTP id 1") == Received("a", "b", False, False)
    assert read_received("by mail.example; today") is None


def test_broken_headers_are_shown_rather_than_stop_the_page(data_dir, keep):
    keep("ours", Subject="=?utf-8?q?=ff=fe?=", Sender="no address <", Date="\x00")
    (message,) = newest_captured(data_dir / "demo" / "ours", "ours")
    assert message.from_address == PRIMARY


def test_the_newest_mail_to_an_address_is_one_click_away(client, owner, keep):
    client.force_login(owner)
    keep("ours", Subject="Before")
    keep("ours", Subject="Newest", number=2)
    newest = reverse("demo_newest")
    shown = client.get(newest, {"to": "claire@customer.example"}).content.decode()
    assert "Newest" in shown
    assert "The body." in shown
    assert client.get(newest, {"to": "nobody@customer.example"}).url == reverse("demo")
