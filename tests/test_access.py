"""Every URL × every role. The URLs come from the URLconf: one without a row here makes this red."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from accounts.models import AuditEvent, Domain, HelpAnswer, User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from config.demo_mail import Capture
from console.signed_value import signed_value
from delivery.models import Delivery, OutboxMessage
from policies.guardrails import Guardrail
from policies.models import GatewayPolicy, Setting
from sendas.models import MailDomain, SmtpMsa
from sendas.services.proof import send_proof
from tests.console.rows import save_value
from tests.second_factors import give_second_factor
from tests.sendas.conftest import PARTNER, make_pending, make_send_as
from tests.sendas.test_proof import token_in

ROLES = (
    "anonymous", "owner", "stranger", "support", "unit_admin", "users_admin", "reports_admin",
    "super_admin",
)  # fmt: skip
DELEGATED = ("unit_admin", "users_admin", "reports_admin")
SECOND = "second@partnerdomain.com"
GUARDRAILS = {
    **{f"{guardrail}_choice": "inherit" for guardrail in Guardrail},
    "addresses_choice": "override",
    "addresses_most": "5",
    "connection_least_tls": "1.2",
}

# What is expected: a status, or the beginning of where a redirect leads.
SIGN_IN, SUPPORT_LOGIN, LIST = "/sign-in/?next=", "/support/login/?next=", "/settings/"
OUTGOING = "/compose/outgoing/"
Expected = tuple[int | str, ...]


def everybody(answer: int | str) -> Expected:
    return (answer,) * len(ROLES)


def signed_in(answer: int | str) -> Expected:
    return (SIGN_IN, *(answer,) * 7)


def the_owner(answer: int | str) -> Expected:
    return (SIGN_IN, answer, *(404,) * 6)


def administrators(answer: int | str) -> Expected:
    """With the privilege *mail settings*, and super administrators."""
    return (SIGN_IN, 404, 404, 404, answer, 404, 404, answer)


def account_managers(answer: int | str) -> Expected:
    """With the privilege *users*, and super administrators."""
    return (SIGN_IN, *(404,) * 4, answer, 404, answer)


def account_readers(answer: int | str) -> Expected:
    return (SIGN_IN, 404, 404, 404, answer, answer, 404, answer)


def report_readers(answer: int | str) -> Expected:
    return (SIGN_IN, *(404,) * 5, answer, answer)


def any_administrator(answer: int | str) -> Expected:
    return (SIGN_IN, 404, 404, 404, *(answer,) * 4)


def super_administrators(answer: int | str) -> Expected:
    return (SIGN_IN, *(404,) * 6, answer)


def support_staff(answer: int | str) -> Expected:
    return (*(SUPPORT_LOGIN,) * 3, answer, *(SUPPORT_LOGIN,) * 3, answer)


@dataclass
class Row:
    """What each role gets. Without `post` no role may POST: that answers 403, 404 or 405."""

    get: Expected
    post: Expected = ()
    data: dict[str, Any] = field(default_factory=dict)
    query: str = ""


TABLE = {
    "": Row((SIGN_IN, LIST, LIST, "/support/", *("/console/",) * 4)),
    "healthz": Row(everybody(200)),
    ".well-known/autoconfig/mail/config-v1.1.xml": Row(everybody(200)),
    "mail/config-v1.1.xml": Row(everybody(200)),
    "readyz": Row(everybody(200)),
    "compose/": Row(signed_in(200), signed_in(422)),
    "compose/outgoing/": Row(signed_in(200), the_owner(OUTGOING), {"retry": "number"}),
    "compose/outgoing/<uuid:number>/again/": Row(the_owner(OUTGOING), the_owner(422)),
    "compose/outgoing/<uuid:number>/discard/": Row(the_owner(200), the_owner(OUTGOING)),
    "language/": Row(everybody(405), everybody("/"), {"language": "en"}),
    "console/": Row(any_administrator(200)),
    "console/administrators/": Row(
        super_administrators(200),
        super_administrators("/console/administrators/"),
        {"address": "user@yourdomain.com", "role": "support"},
    ),
    "console/administrators/<int:assignment_id>/": Row(
        super_administrators(200),
        super_administrators("/console/administrators/"),
        {"privileges": "reports"},
    ),
    "console/apps/mail/": Row(administrators(200)),
    "console/failing-servers/": Row(administrators(200), query="?host=localhost"),
    "console/stored-passwords/": Row(super_administrators(200)),
    "console/stored-passwords/<str:host>/": Row(
        super_administrators(200), super_administrators("/console/stored-passwords/")
    ),
    "console/audit/": Row(report_readers(200)),
    "console/audit/download\\.(?P<kind>csv|json)": Row(report_readers(200)),
    "console/search/": Row(any_administrator(200)),
    "console/help/gateways/": Row(
        any_administrator(200),
        any_administrator("/console/help/gateways/"),
        {"helpful": "yes"},
    ),
    "console/apps/mail/own-values/<int:unit_id>/": Row(administrators(200)),
    "console/apps/mail/what-changes/<int:unit_id>/": Row(administrators(200), query="?value=on"),
    "console/apps/mail/what-changes/<int:unit_id>/download.csv": Row(
        administrators(200), query="?value=on"
    ),
    **{
        f"console/apps/mail/what-changes/<int:unit_id>/<slug:slug>/{file}": Row(
            administrators(200),
            query=f"?value={signed_value(Setting.GATEWAY_FAILURE, {'choice': 'hold'})}",
        )
        for file in ("", "download.csv")
    },
    "console/rollouts/": Row(administrators(200)),
    "console/rollouts/running/": Row(administrators(200)),
    "console/rollouts/<int:change_id>/": Row(administrators(200)),
    "console/rollouts/<int:change_id>/<slug:action>/": Row(
        administrators(200), administrators("/console/rollouts/"), {"based_on": "0"}
    ),
    "console/simulator/": Row(administrators(200)),
    "console/messages/<uuid:delivery_id>/": Row(administrators(200)),
    "console/accounts/": Row(account_readers(200)),
    "console/accounts/<uuid:account_id>/": Row(account_readers(200)),
    **{
        f"console/accounts/<uuid:account_id>/{action}/": Row(
            account_managers(200), account_managers("/console/accounts/")
        )
        for action in ("suspend", "restore")
    },
    "console/accounts/<uuid:account_id>/app-passwords/": Row(
        account_managers(200), account_managers("/console/accounts/"), {"revoke": "APP_PASSWORD"}
    ),
    "console/accounts/<uuid:account_id>/aliases/": Row(
        account_managers(200),
        account_managers("/console/accounts/"),
        {"address": "tanaka@yourdomain.com"},
    ),
    "console/accounts/<uuid:account_id>/rename/": Row(
        account_managers(200),
        account_managers("/console/accounts/"),
        {"name": "Yuki Sato", "seen_name": "OWNER_NAME"},
    ),
    # Its owner has a password.
    "console/accounts/<uuid:account_id>/mail-link/": Row(
        account_managers(200), account_managers(409)
    ),
    "console/accounts/new/": Row(
        account_managers(200),
        account_managers("/console/accounts/"),
        {"primary_address": "mika@yourdomain.com", "name": "Mika Sato", "to": "unit_id"},
    ),
    "console/accounts/<uuid:account_id>/move/": Row(
        account_managers(200),
        account_managers("/console/accounts/"),
        {"unit_id": "OWNER_UNIT", "to": "unit_id"},
    ),
    "console/units/": Row(account_managers(200)),
    "console/units/<int:unit_id>/": Row(account_managers(200)),
    "console/units/<int:unit_id>/below/": Row(account_managers(200)),
    **{
        f"console/units/<int:unit_id>/{action}/": Row(
            super_administrators(200),
            super_administrators("/console/units/"),
            {"name": "Trade"},
        )
        for action in ("new", "rename")
    },
    "console/units/<int:unit_id>/move/": Row(
        super_administrators(200), super_administrators("/console/units/"), {"to": "BESIDE"}
    ),
    # Its accounts keep it.
    "console/units/<int:unit_id>/delete/": Row(
        super_administrators(200), super_administrators(409)
    ),
    "console/accounts/<uuid:account_id>/apply-now/": Row(
        administrators(200), administrators("/console/accounts/"), {"unit_id": "OWNER_UNIT"}
    ),
    **{
        f"console/apps/mail/{page}/<int:unit_id>/": Row(
            administrators(200),
            administrators(f"/console/apps/mail/{page}/"),
            {"choice": "override", "based_on": "1"},
        )
        for page in ("advanced", "end-user-access")
    },
    **{
        # Without a unit it is the topmost one: stale for Sales, nothing new for the root.
        f"console/apps/mail/{page}/": Row(
            administrators(200),
            (SIGN_IN, 404, 404, 404, 409, 404, 404, 200),
            {"choice": "override"},
        )
        for page in ("advanced", "end-user-access")
    },
    **{
        f"console/apps/mail/{page}/<int:unit_id>/below/": Row(administrators(200))
        for page in ("advanced", "end-user-access")
    },
    **{
        f"console/apps/mail/guardrails/{unit}": Row(
            administrators(200), administrators("/console/apps/mail/guardrails/"), GUARDRAILS
        )
        for unit in ("", "<int:unit_id>/")
    },
    "console/apps/mail/guardrails/<int:unit_id>/below/": Row(administrators(200)),
    "console/apps/mail/outbound-gateway/<int:unit_id>/": Row(
        administrators(200),
        administrators("/console/apps/mail/outbound-gateway/"),
        {"choice": "override", "use": "installation"},
    ),
    # Nothing new for the root.
    "console/apps/mail/outbound-gateway/": Row(
        administrators(200),
        (SIGN_IN, 404, 404, 404, "/console/apps/mail/outbound-gateway/", 404, 404, 200),
        {"choice": "override", "use": "installation"},
    ),
    "console/apps/mail/outbound-gateway/<int:unit_id>/below/": Row(administrators(200)),
    **{
        f"console/apps/mail/own-server-fails/{unit}": Row(
            administrators(200),
            administrators("/console/apps/mail/own-server-fails/"),
            {"choice": "override", "on_failure": "hold"},
        )
        for unit in ("", "<int:unit_id>/")
    },
    "console/apps/mail/own-server-fails/<int:unit_id>/below/": Row(administrators(200)),
    "console/apps/mail/approvals/": Row(
        administrators(200),
        administrators("/console/apps/mail/approvals/"),
        {"gateway": "GATEWAY", "credential": "CREDENTIAL", "approve": ""},
    ),
    "settings/": Row(signed_in(200), the_owner(LIST), {"make_default": SECOND}),
    "settings/send-as/add/": Row(signed_in(200), signed_in(200)),
    "settings/send-as/server/": Row(
        signed_in("/settings/send-as/add/"), signed_in("/settings/send-as/add/")
    ),
    "settings/send-as/edit/": Row(
        the_owner(200),
        the_owner(LIST),
        {"display_name": "Yuki"},
        query="?address=user@yourdomain.com",
    ),
    "settings/send-as/<int:pk>/edit/": Row(
        the_owner(200), the_owner(LIST), {"display_name": "Yuki"}
    ),
    "settings/send-as/<int:pk>/prove/": Row(the_owner(200), the_owner(200), {"code": "1"}),
    "settings/send-as/<int:pk>/delete/": Row(the_owner(200), the_owner(LIST)),
    "settings/send-as/<int:pk>/by-our-servers/": Row(the_owner(LIST), the_owner(LIST)),
    "settings/send-as/<int:pk>/discard/": Row(the_owner(LIST), the_owner(LIST)),
    "settings/send-as/confirm/<str:token>/": Row(the_owner(200), the_owner(LIST)),
    "settings/help/": Row(signed_in(200)),
    "settings/help/<slug:subject>/": Row(
        signed_in(200), signed_in("/settings/help/errors/"), {"helpful": "yes"}
    ),
    "settings/app-passwords/": Row(signed_in(200), the_owner(LIST), {"revoke": "APP_PASSWORD"}),
    "demo/": Row(signed_in(200)),
    "demo/codes/": Row(everybody(200)),
    "demo/newest/": Row(signed_in("/demo/")),
    "demo/<str:server>/<str:name>": Row(signed_in(200)),
    # Sign-in: allauth's pages.
    "sign-in/": Row((200, *("/",) * 7), (200, *("/",) * 7)),
    "sign-out/": Row(("/sign-in/", *(200,) * 7), everybody("/sign-in/")),
    "sign-in/suspended/": Row(everybody(200)),
    # The second factor. Who has a role has one here, and has used it; see below for who has not.
    "sign-in/code/": Row(("/sign-in/", *("/",) * 7), ("/sign-in/", *("/",) * 7)),
    "sign-in/code/again/": Row(
        (SIGN_IN, *("/sign-in/again/",) * 2, *(200,) * 5),
        (SIGN_IN, *("/sign-in/again/",) * 2, *(200,) * 5),
    ),
    "second-factor/": Row(signed_in(200), signed_in(405)),
    "second-factor/set-up/": Row(
        (SIGN_IN, *("/sign-in/again/",) * 7), (SIGN_IN, *("/sign-in/again/",) * 7)
    ),
    "second-factor/remove/": Row(
        (SIGN_IN, *(404,) * 2, *("/sign-in/again/",) * 5),
        (SIGN_IN, *(404,) * 2, *("/sign-in/again/",) * 5),
    ),
    "second-factor/recovery-codes/": Row(signed_in(404), signed_in(405)),
    "second-factor/recovery-codes/new/": Row(
        (SIGN_IN, *("/sign-in/again/",) * 7), (SIGN_IN, *("/sign-in/again/",) * 7)
    ),
    "second-factor/recovery-codes/download/": Row(signed_in(404), signed_in(404)),
    "sign-in/again/": Row(signed_in(200), signed_in(200)),
    "password/change/": Row(signed_in(200), signed_in(200)),
    "password/reset/": Row(everybody(200), everybody(200)),
    "password/reset/sent/": Row(everybody(200)),
    "password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[-\\w]+)/": Row(
        everybody(200), everybody(200)
    ),
    "password/reset/done/": Row(everybody(200)),
    # Django's admin.
    "support/": Row(support_staff(200), support_staff(200)),
    "support/login/": Row(
        (SIGN_IN, 403, 403, "/support/", 403, 403, 403, "/support/"),
        (SIGN_IN, 403, 403, 200, 403, 403, 403, 200),
    ),
    "support/logout/": Row(
        (*("/support/",) * 3, 405, *("/support/",) * 3, 405),
        (*("/support/",) * 3, "/sign-in/", *("/support/",) * 3, "/sign-in/"),
    ),
    "support/password_change/": Row(everybody("/password/change/"), everybody("/password/change/")),
    "support/password_change/done/": Row(everybody(404)),
    "support/r/<path:rest>": Row(everybody(404)),
    "support/r/<path:content_type_id>/<path:object_id>/": Row(everybody(404)),
    "support/autocomplete/": Row(support_staff(403)),
    "support/jsi18n/": Row(support_staff(200)),
    "support/(?P<app_label>accounts|delivery|sendas|policies)/": Row(
        support_staff(200), support_staff(200)
    ),
    "support/(?P<url>.*)": Row(support_staff(404)),
}
SUPPORT_PAGES = {
    "": Row(support_staff(200), support_staff(200)),
    "add/": Row(support_staff(403)),
    "<path:object_id>/": Row(
        support_staff("/support/"), support_staff("/support/")
    ),  # to change/, an address of old
    "<path:object_id>/change/": Row(support_staff(200)),
    "<path:object_id>/delete/": Row(support_staff(403)),
    "<path:object_id>/history/": Row(support_staff(200), support_staff(200)),
}
LOOKED_UP = [
    "accounts/user", "accounts/apppassword", "accounts/orgunit", "accounts/domain",
    "accounts/roleassignment", "accounts/auditevent", "accounts/helpanswer",
    "policies/gatewaypolicy", "policies/policychange", "sendas/sendas", "sendas/maildomain",
    "delivery/delivery", "delivery/outboxmessage",
]  # fmt: skip
TABLE |= {
    f"support/{model}/{page}": row for model in LOOKED_UP for page, row in SUPPORT_PAGES.items()
}


def routes_of(resolver: Any, prefix: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern).removeprefix("^").removesuffix("$")
        if isinstance(entry, URLResolver):
            yield from routes_of(entry, route)
        else:
            yield route


ROUTES = sorted(set(routes_of(get_resolver())))


@dataclass
class World:
    """One of everything, the owner's where it is anybody's."""

    people: dict[str, User]
    values: dict[str, Any]
    looked_up: dict[str, Any]

    def url(self, route: str, query: str = "") -> str:
        """The route with our rows in its gaps."""
        values = self.values
        if route.startswith("support/") and "/".join(route.split("/")[1:3]) in self.looked_up:
            row = self.looked_up["/".join(route.split("/")[1:3])]
            values = values | {"object_id": quote(row.pk)}
        gaps = r"\(\?P<(\w+)>[^()]*\)|<(?:\w+:)?(\w+)>"
        filled = re.sub(gaps, lambda gap: str(values.get(gap[1] or gap[2], "nothing")), route)
        return f"/{filled}{query}".replace("\\", "")


@pytest.fixture
def world(
    request, organisation, owner, stranger, support, unit_admin, users_admin, reports_admin,
    super_admin, mailoutbox, settings, tmp_path, monkeypatch,
) -> World:  # fmt: skip
    send_as = make_pending(owner)
    send_proof(send_as)
    second = make_send_as(owner, address=SECOND)
    msa = SmtpMsa.objects.create(
        send_as=second, host="smtp.partnerdomain.com", port=587, security_mode="starttls",
        username="x", key_id="x", ciphertext=b"x", approval="waiting",
    )  # fmt: skip
    app_password, _secret = create_app_password(actor=SYSTEM, user=owner, name="Phone")
    change = save_value(user=super_admin, unit=organisation.sales, value={"allowed": True})
    delivery = Delivery.objects.create(account=owner, account_address=owner.primary_address)
    waiting = OutboxMessage.objects.create(
        account=owner, source="smtp", state="waiting", recipients=[], expires_at=Now()
    )
    for user in (support, unit_admin, users_admin, reports_admin, super_admin):
        give_second_factor(user)
    rows = [
        owner, app_password, organisation.sales, Domain.objects.get(), change, send_as, delivery,
        waiting, unit_admin.roles.get(), AuditEvent.objects.last(),
        GatewayPolicy.objects.get(), MailDomain.objects.create(name="partnerdomain.com"),
        HelpAnswer.objects.create(user=owner, page="/settings/help/routes/", helpful=True),
    ]  # fmt: skip
    settings.OUTGATE_DEMO = True
    monkeypatch.setenv("OUTGATE_DATA_DIR", str(tmp_path))
    for server in ("ours", "partner"):
        Capture(tmp_path / "demo" / server, "mail.example")
    (tmp_path / "sign-ins.json").write_text("{}")
    kept = tmp_path / "demo" / "ours" / "new" / "1.P1Q1.mail.example"
    kept.write_bytes(b"From: a@example.com\r\n\r\nBody\r\n")
    return World(
        people={role: request.getfixturevalue(role) for role in ROLES[1:]},
        values={
            "unit_id": organisation.sales.pk, "change_id": change.pk, "pk": send_as.pk,
            "action": "pause", "account_id": owner.pk, "delivery_id": delivery.pk,
            "OWNER_UNIT": owner.unit_id, "OWNER_NAME": owner.name,
            "BESIDE": organisation.support_unit.pk,
            "GATEWAY": msa.pk, "CREDENTIAL": msa.credential_id,
            "kind": "csv", "host": "smtp.partnerdomain.com", "number": waiting.pk,
            "assignment_id": unit_admin.roles.get().pk,
            "token": token_in(mailoutbox[0]), "server": "ours", "name": kept.name,
            "subject": "errors", "slug": "own-server-fails", "app_label": "accounts",
            "APP_PASSWORD": app_password.pk,
        },
        looked_up={f"{row._meta.app_label}/{row._meta.model_name}": row for row in rows},
    )  # fmt: skip


def answer(client: Client, user: User | None, method: str, url: str, data: Any = None) -> int | str:
    """The status, or where a redirect leads; nothing of it is kept."""
    with transaction.atomic():
        client.logout()
        if user:
            client.force_login(user)
        response = getattr(client, method)(url, data)
        b"".join(response)  # a file is closed once it was read
        assert "default-src 'self'" in response["Content-Security-Policy"]
        assert "unsafe" not in response["Content-Security-Policy"]
        transaction.set_rollback(True)
    return response.get("Location", response.status_code)


def as_expected(got: int | str, expected: int | str) -> bool:
    return str(got).startswith(str(expected)) if isinstance(expected, str) else got == expected


def test_every_url_has_a_row_and_every_row_a_url():
    assert sorted(TABLE) == ROUTES


@pytest.mark.parametrize(("number", "role"), list(enumerate(ROLES)), ids=ROLES)
def test_each_role_gets_what_the_table_says(client, world, number, role):
    wrong = []
    user = world.people.get(role)
    for route, row in TABLE.items():
        url = world.url(route, row.query)
        data = {name: world.values.get(value, value) for name, value in row.data.items()}
        got = answer(client, user, "get", url)
        if not as_expected(got, row.get[number]):
            wrong.append(f"GET {url}: {got}, not {row.get[number]}")
        got = answer(client, user, "post", url, data)
        if row.post and not as_expected(got, row.post[number]):
            wrong.append(f"POST {url}: {got}, not {row.post[number]}")
        if not row.post and not refused(got):
            wrong.append(f"POST {url}: {got}")
    assert not wrong, "\n".join(wrong)


def refused(got: int | str) -> bool:
    return got in {403, 404, 405} or str(got).startswith(SUPPORT_LOGIN)


def opened_to(role: str) -> dict[str, Row]:
    """The pages that the role has at all."""
    number = ROLES.index(role)
    return {route: row for route, row in TABLE.items() if row.get[number] == 200}


REACH = {"root": False, "sales": True, "partner_desk": True, "support_unit": False}


@pytest.mark.parametrize("name", REACH)
def test_a_unit_administrator_reaches_down_neither_beside_nor_above(
    client, world, organisation, unit_admin, name
):
    unit = getattr(organisation, name)
    world.values["unit_id"] = unit.pk
    version = GatewayPolicy.objects.filter(unit=unit).count()
    typed = {"choice": "override", "allowed": "on" * (not version), "based_on": version}
    opened = opened_to("unit_admin")
    for route in (route for route in opened if "<int:unit_id>" in route):
        url = world.url(route, TABLE[route].query)
        data = TABLE[route].data | typed
        assert answer(client, unit_admin, "get", url) == (200 if REACH[name] else 404), url
        saved = answer(client, unit_admin, "post", url, data)
        may_save = REACH[name] and bool(TABLE[route].post)
        assert "saved=" in str(saved) if may_save else refused(saved), url


@pytest.mark.parametrize("name", REACH)
def test_who_manages_accounts_reaches_down_neither_beside_nor_above(
    client, world, organisation, users_admin, stranger, owner, name
):
    unit = getattr(organisation, name)
    person = stranger if name == "support_unit" else owner
    User.objects.filter(pk=person.pk).update(unit=unit, password="!")
    world.values |= {"unit_id": unit.pk, "account_id": person.pk, "OWNER_UNIT": unit.pk}
    data = {"unit_id": unit.pk, "to": organisation.sales.pk, "name": "New"}
    data |= {"address": "new@yourdomain.com", "seen_name": person.name}
    opened = opened_to("users_admin")
    routes = [route for route in opened if "account_id" in route or "<int:unit_id>" in route]
    assert len(routes) == 10
    for route in routes:
        url = world.url(route)
        assert answer(client, users_admin, "get", url) == (200 if REACH[name] else 404), url
        done = answer(client, users_admin, "post", url, data)
        may = REACH[name] and bool(TABLE[route].post)
        assert "/console/accounts/" in str(done) if may else refused(done), url


@pytest.mark.parametrize("name", REACH)
def test_an_account_is_moved_to_a_unit_that_one_manages_only(
    client, world, organisation, users_admin, owner, name
):
    url = reverse("console:account_move", args=[owner.pk])
    unit = getattr(organisation, name)
    data = {"unit_id": owner.unit_id, "to": unit.pk}
    done = answer(client, users_admin, "post", url, data)
    assert "/console/accounts/" in str(done) if REACH[name] else done == 409
    client.force_login(users_admin)
    shown = client.get(f"{url}?to={unit.pk}").content.decode()
    assert ("seen_unit" in shown) == (name == "sales")


@pytest.mark.parametrize("name", REACH)
def test_a_unit_administrator_sees_the_changes_of_those_units_only(
    client, world, organisation, unit_admin, super_admin, name
):
    unit = getattr(organisation, name)
    change = save_value(
        user=super_admin,
        unit=unit,
        value={"allowed": False},
        based_on=GatewayPolicy.objects.filter(unit=unit).count(),
    )
    url = reverse("console:rollout", args=[change.pk])
    assert answer(client, unit_admin, "get", url) == (200 if REACH[name] else 404)
    pause = reverse("console:rollout_action", args=[change.pk, "pause"])
    paused = answer(client, unit_admin, "post", pause, {"based_on": "0"})
    assert as_expected(paused, url if REACH[name] else 404)
    client.force_login(unit_admin)
    listed = client.get(reverse("console:rollouts")).content.decode()
    assert (f'href="{url}"' in listed) == REACH[name]


def test_a_suspended_account_is_nobody(client, world):
    for role, user in world.people.items():
        client.force_login(user)
        User.objects.filter(pk=user.pk).update(suspended=True)
        for url in (LIST, "/console/", "/demo/", "/settings/app-passwords/"):
            assert client.get(url).url.startswith(SIGN_IN), (role, url)
        assert client.get("/support/").url.startswith(SUPPORT_LOGIN), role


def test_the_owners_address_is_in_nobody_elses_pages(client, world):
    for role in ("stranger", *DELEGATED, "super_admin"):
        client.force_login(world.people[role])
        for route in ("settings/", "settings/send-as/<int:pk>/edit/", "settings/app-passwords/"):
            assert PARTNER not in client.get(world.url(route)).content.decode()
