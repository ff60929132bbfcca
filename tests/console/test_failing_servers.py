"""Servers that fail, summed up for those who administer the accounts."""

from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from sendas.models import SmtpMsa
from tests.console.rows import text_of
from tests.sendas.conftest import make_send_as

PAGE = "/console/failing-servers/"


def refuse(user: User, *, host: str = "smtp.x.example", address: str = "", hours: int = 0) -> None:
    send_as = make_send_as(user, address=address or f"a@{user.primary_address.partition('@')[0]}.x")
    SmtpMsa.objects.create(
        send_as=send_as, host=host, port=587, security_mode="starttls", username="x",
        key_id="x", ciphertext=b"", refused_at=Now() - timedelta(hours=hours),
        refusal="535 5.7.8 Not any more",
    )  # fmt: skip


def test_the_overview_and_the_page_sum_up_by_server(client, super_admin, owner, colleague):
    refuse(owner, hours=3)
    refuse(owner, address="second@y.example")
    refuse(colleague)
    refuse(colleague, host="mail.other.example", address="b@other.example")
    client.force_login(super_admin)
    for page in (reverse("console:overview"), PAGE):
        words = text_of(client.get(page))
        assert (
            "smtp.x.example What it does refuses the password Accounts 2 In the last hour 2"
            in words
        )
        assert (
            "mail.other.example What it does refuses the password Accounts 1 In the last hour 1"
            in words
        )
    words = text_of(client.get(f"{PAGE}?host=smtp.x.example"))
    assert words.count("535 5.7.8 Not any more") == 3
    assert "second@y.example" in words
    assert "b@other.example" not in words


def test_failed_checks_stand_beside_refusals_each_kind_by_itself(
    client, super_admin, support, owner, colleague
):
    refuse(owner)
    for number, (user, kind) in enumerate(
        [(owner, "timeout"), (colleague, "not_a_mail_server"), (colleague, "certificate_expired")]
    ):
        refuse(user, address=f"{number}@z.example")
        SmtpMsa.objects.filter(send_as__send_as_email=f"{number}@z.example").update(
            refused_at=None, refusal="", check_failure=kind, checked_at=Now(),
            failing_since=Now() - timedelta(hours=5),
        )  # fmt: skip
    client.force_login(super_admin)
    for page in (reverse("console:overview"), PAGE):
        words = text_of(client.get(page))
        for line in (
            "does not answer Accounts 2 In the last hour 0",
            "has no valid certificate Accounts 1 In the last hour 0",
            "refuses the password Accounts 1 In the last hour 1",
        ):
            assert f"smtp.x.example What it does {line}" in words
    words = text_of(client.get(f"{PAGE}?host=smtp.x.example"))
    assert "2@z.example What it does has no valid certificate Since" in words
    client.force_login(support)
    words = text_of(client.get("/support/sendas/sendas/?failing_at=unreachable+smtp.x.example"))
    assert "smtp.x.example does not answer: 2 since" in words
    assert "1@z.example" in words
    assert "2@z.example" not in words


def test_without_a_refusal_the_overview_says_nothing_and_the_page_says_so(client, super_admin):
    client.force_login(super_admin)
    assert "can’t use" not in text_of(client.get(reverse("console:overview")))
    assert "No server fails" in text_of(client.get(PAGE))


def test_who_administers_a_unit_sees_its_accounts_only(client, unit_admin, owner, support):
    refuse(owner)
    refuse(support, address="not@theirs.example")
    client.force_login(unit_admin)
    words = text_of(client.get(f"{PAGE}?host=smtp.x.example"))
    assert "smtp.x.example What it does refuses the password Accounts 1 In the last hour 1" in words
    assert "not@theirs.example" not in words


def test_as_many_queries_for_20_servers_as_for_10(client, super_admin, owner):
    client.force_login(super_admin)

    def queries(page: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get(page)
        return len(asked)

    pages = (reverse("console:overview"), f"{PAGE}?host=smtp.x.example")
    counts = []
    for batch in range(2):
        for number in range(10):
            refuse(owner, address=f"{batch}-{number}@x.example")
            refuse(owner, address=f"{batch}-{number}@z.example", host=f"{batch}-{number}.example")
        client.get(pages[0])
        counts.append([queries(page) for page in pages])
    assert counts[0] == counts[1]


def test_support_finds_the_addresses_by_the_server(client, support, owner, colleague):
    refuse(owner)
    refuse(colleague)
    make_send_as(owner, address="good@one.example")
    client.force_login(support)
    words = text_of(client.get("/support/sendas/sendas/?failing_at=refused+smtp.x.example"))
    assert "smtp.x.example refuses the password: 2 since" in words
    assert "good@one.example" not in words
