"""One walk through every door with passwords of its own; afterwards they are looked for everywhere.

Everything runs as it does in an installation and talks at DEBUG: the submission service, a Celery
worker, the organisation's and the partner's mail servers, a server that answers with the password
that it was sent, and the web pages.
"""

import base64
import email
import io
import logging
import re
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.test import Client

from accounts.models import AuditEvent, User
from accounts.services.audit import SYSTEM
from accounts.services.people import restore_user, suspend_user
from delivery.limit_reports import record_limit_reached
from delivery.models import Delivery, LimitReport
from delivery.tasks import sweep_limit_reports
from sendas import upstream
from sendas.models import OwnerNotice, SendAs, SmtpMsa
from sendas.services.reproof import ask_again
from sendas.tasks import sweep_notices, sweep_proofs
from tests.conftest import PASSWORD
from tests.processes import WORKER, running, until
from tests.secrets import Broker, database_dump, found_in
from tests.submission.conftest import PostOffice, apply_policy
from tests.support import page_of

PARTNER = "user.name@partnerdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGE = f"From: {PARTNER}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n"
WRONG = "canary-wrong-7f3a51"
ECHOED = "canary-echoed-91c2d0"
WRONG_WEB = "canary-web-3b7790"
WRONG_APP = "canary-app-5e6612"

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


class Walk:
    """A person's browser and mail program, and every page that they and others were shown."""

    def __init__(self, client: Client, office: PostOffice) -> None:
        self.client = client
        self.office = office
        self.shown: list[bytes] = []

    def get(self, url: str, status: int = 200) -> bytes:
        return self._keep(self.client.get(url, follow=True), status)

    def post(self, url: str, data: dict[str, object], status: int = 200) -> bytes:
        return self._keep(self.client.post(url, data, follow=True), status)

    def _keep(self, answer, status: int) -> bytes:
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code == status, content.decode()
        self.shown.append(content)
        return content

    def mail(self, number: int = -1) -> str:
        """Our own mail to the address, as the organisation's server has it."""
        until(lambda: self.office.raw("ours"), 5)
        message = email.message_from_bytes(self.office.raw("ours")[number])
        text = next(part for part in message.walk() if part.get_content_type() == "text/plain")
        return text.get_payload(decode=True).decode().replace("\r\n", "\n")


@pytest.fixture
def walk(post_office, client, settings, monkeypatch):
    """The web pages by the same servers and settings as the services have."""
    monkeypatch.setenv("SSL_CERT_FILE", str(post_office.environment["SSL_CERT_FILE"]))
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_USE_TLS = "localhost", True
    settings.EMAIL_PORT = post_office.ports["OUTGATE_DEMO_OURS_PORT"]
    ports = post_office.environment["OUTGATE_EGRESS_PORTS"].split(",")
    settings.OUTGATE_EGRESS_PORTS = frozenset(map(int, ports))
    upstream.tls_context.cache_clear()
    upstream.egress_guard.cache_clear()
    yield Walk(client, post_office)
    upstream.tls_context.cache_clear()
    upstream.egress_guard.cache_clear()


@pytest.fixture
def page_log() -> Iterator[io.StringIO]:
    """What an installation's own handler writes, with all levels on."""
    (handler,) = (each for each in logging.root.handlers if each.name == "console")
    stream, level = io.StringIO(), logging.root.level
    before = handler.setStream(stream)
    logging.root.setLevel(logging.DEBUG)
    yield stream
    logging.root.setLevel(level)
    handler.setStream(before)


def test_no_secret_is_told_anywhere(
    walk, post_office, owner, stranger, support, super_admin, page_log
):
    secrets = {
        "SMTP password": post_office.partner_password, "wrong SMTP password": WRONG,
        "echoed SMTP password": ECHOED, "web password": PASSWORD,
        "wrong web password": WRONG_WEB, "wrong app password": WRONG_APP,
        "key": configured.OUTGATE_CREDENTIAL_KEYS[0].partition(":")[2],
    }  # fmt: skip
    apply_policy(owner, allowed=True, version=1)
    environment = post_office.environment | {"OUTGATE_LOG_LEVEL": "DEBUG"}
    debugging = [*WORKER[:-1], "DEBUG"]
    with (
        Broker() as broker,
        running("worker", debugging, environment) as worker,
        ThreadPoolExecutor(4) as pool,
    ):
        pair = base64.b64encode(f"\0{owner.primary_address}\0{WRONG_APP}".encode()).decode()
        wrong = [
            pool.submit(wrong_sign_in, post_office, line)
            # The last one is the answer to a question that nobody asked.
            for line in (
                f"AUTH PLAIN {pair}",
                f"AUTH PLAIN {WRONG_APP}",
                f"AUTH BOGUS {pair}",
                pair,
            )
        ]
        sign_in(walk, owner)
        secrets["app password"] = make_app_password(walk)
        set_up_address(walk, secrets)
        mail_programs(post_office, owner.primary_address, secrets["app password"])
        password_refused(walk, owner, secrets["app password"])
        record_limit_reached(account_id=owner.pk, window=LimitReport.Window.HOUR, limit=10)
        worker.wait_for(r"\bready\.")
        ask_again(send_as=SendAs.objects.get(), reason=SendAs.AskReason.BOUNCE)
        for task in (sweep_limit_reports, sweep_proofs, sweep_notices):
            task.delay()
        until(lambda: LimitReport.objects.filter(mailed_at=None).count() == 0, 10)
        until(lambda: not OwnerNotice.objects.exists(), 10)
        told = rotate()
        for each in wrong:
            each.result(30)
        look_around(walk, owner, support)
        look_around(walk, owner, super_admin)
    places = {
        "the database": database_dump(),
        "Redis": broker.seen,
        "the log of the worker": worker.output.encode(),
        "the log of submission": post_office.log.encode(),
        "the log of the pages": page_log.getvalue().encode(),
        "what the command prints": told.encode(),
        "a page": b"\n".join(walk.shown),
        "a message": b"\n".join([*post_office.raw("ours"), *post_office.raw("partner")]),
    }
    for name, octets in places.items():
        assert len(octets) > 40, name
    assert b"sweep_limit_reports" in places["Redis"]
    assert b"mail_limit_report" in places["the log of the worker"]
    assert b"Prove once more" in places["a message"]
    assert b"/send-as/confirm/[hidden]" in places["the log of the pages"]
    found = {name: found_in(octets, secrets) for name, octets in places.items()}
    # The one place for them: the mail that proves an address.
    assert set(found.pop("a message")) == {"code", "link"}
    assert {name: names for name, names in found.items() if names} == {}


def sign_in(walk: Walk, user: User) -> None:
    for password in (WRONG_WEB, PASSWORD):
        walk.post("/sign-in/", {"login": user.primary_address, "password": password})
    assert b"Send mail as" in walk.shown[-1]


def make_app_password(walk: Walk) -> str:
    """Shown once, on the page that it is for; that page is not kept."""
    page = walk.client.post(
        "/settings/app-passwords/", {"create": "", "name": "Laptop"}, follow=True
    ).content.decode()
    secret = re.search(r"(?:[a-z2-7]{5}-){3}[a-z2-7]{5}", page)[0]
    walk.get("/settings/app-passwords/")
    return secret


def set_up_address(walk: Walk, secrets: dict[str, str]) -> None:
    """The wizard with a wrong password and the right one, then the proof."""
    office = walk.office
    walk.post(
        "/settings/send-as/add/",
        {"display_name": "User Name", "address": PARTNER, "treat_as_alias": "on"},
    )
    server = {
        "route": "own", "host": "localhost", "port": office.ports["OUTGATE_DEMO_PARTNER_PORT"],
        "security_mode": "starttls", "username": PARTNER,
    }  # fmt: skip
    url = f"/settings/send-as/server/?address={PARTNER}"
    assert b"does not accept this user name" in walk.post(url, server | {"password": WRONG})
    walk.post(url, server | {"password": office.partner_password})
    secrets["code"] = re.search(r"^\d{4} \d{4}$", walk.mail(), re.MULTILINE)[0]
    secrets["link"] = re.search(r"/send-as/confirm/([^/\s]+)/", walk.mail())[1]
    walk.post("/settings/", {"confirm": PARTNER, "code": "1234 5678"})
    link = f"/settings/send-as/confirm/{secrets['link']}/"
    # Another account opens the link, and somebody who is not signed in.
    stranger = Client()
    stranger.force_login(User.objects.get(primary_address="stranger@yourdomain.com"))
    assert stranger.get(link).status_code == 404
    assert Client().get(link).status_code == 302
    walk.post("/settings/", {"confirm": PARTNER, "code": secrets["code"]})
    assert SendAs.objects.get().is_accepted


def wrong_sign_in(office: PostOffice, line: str) -> None:
    """What a mail program may say where it is wrong; each waits for seconds."""
    with office.connect() as program:
        program.ehlo()
        assert program.docmd(line)[0] >= 500


def mail_programs(office: PostOffice, login: str, app_password: str) -> None:
    """Both mechanisms, and a message by the partner's server."""
    with office.connect() as program:
        program.login(login, app_password)
        program.sendmail(PARTNER, [RECIPIENT], MESSAGE)
    with office.connect() as program:
        program.ehlo()
        program.user, program.password = login, app_password
        assert program.auth("LOGIN", program.auth_login)[0] == 235
    assert len(office.raw("partner")) == 1


def password_refused(walk: Walk, owner: User, app_password: str) -> None:
    """A server that lets us in once, then refuses the password and writes it into its reply."""
    office, forms = walk.office, f"{ECHOED} {base64.b64encode(ECHOED.encode()).decode()}"
    refusal = f"535 5.7.8 Wrong password {forms} for {PARTNER}\r\n".encode()
    edit = f"/settings/send-as/{SendAs.objects.get().pk}/edit/"
    server = {
        "display_name": "User Name", "route": "own", "host": "localhost",
        "port": office.upstream_port, "security_mode": "ssl", "username": PARTNER,
        "password": ECHOED,
    }  # fmt: skip
    with office.upstream(AUTH=refusal) as scripted:
        assert b"[hidden]" in walk.post(edit, server)
        scripted.answers = {}
        walk.post(edit, server)
        assert SmtpMsa.objects.get().port == office.upstream_port
        scripted.answers = {"AUTH": refusal}
        with office.connect() as program:
            program.login(owner.primary_address, app_password)
            office.hears_of_changes()
            with pytest.raises(smtplib.SMTPDataError, match="no longer accepts"):
                program.sendmail(PARTNER, [RECIPIENT], MESSAGE)
    until(lambda: "[hidden]" in SmtpMsa.objects.get().refusal, 5)
    until(lambda: Delivery.objects.filter(state="refused", finished_at__isnull=False).exists(), 5)


def rotate() -> str:
    printed = io.StringIO()
    call_command("rotate_credentials", stdout=printed)
    return printed.getvalue() + "-" * 40


def look_around(walk: Walk, owner: User, reader: User) -> None:
    """What others see of all this, and the owner's own pages."""
    send_as = SendAs.objects.get()
    walk.client.force_login(owner)
    for url in ("/settings/", f"/settings/send-as/{send_as.pk}/edit/", "/settings/app-passwords/"):
        walk.get(url)
    walk.client.force_login(reader)
    rows = [
        owner, owner.app_passwords.get(), send_as, *Delivery.objects.all(),
        *AuditEvent.objects.all(),
    ]  # fmt: skip
    for url in {page_of(row, page) for row in rows for page in ("change", "changelist")}:
        walk.get(url)
    if reader.is_super_admin:
        for url in (
            "/console/",
            "/console/stored-passwords/",
            "/console/audit/",
            "/console/audit/download.csv",
        ):
            walk.get(url)
        suspend_user(actor=SYSTEM, user=owner)
        restore_user(actor=SYSTEM, user=owner)
