"""A person's list: what stands in it, what changes it, and what is worth nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.models import Alias, AuditEvent, Domain
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from accounts.services.people import add_alias, remove_alias
from delivery.routing import Refusal, Rule, decide
from delivery.services import load_account, load_settings
from policies.guardrails import MOST_ADDRESSES
from sendas.models import SendAs
from sendas.services.addresses import (
    Details,
    add_address,
    change_details,
    clean_new_address,
    delete_address,
    list_addresses,
    make_default,
)
from sendas.services.proof import send_proof
from tests.sendas.conftest import PARTNER, make_pending, make_send_as

ALIAS = "sales@yourdomain.com"
DETAILS = Details("User Name")


@pytest.fixture
def alias(owner) -> Alias:
    return add_alias(actor=SYSTEM, user=owner, address=ALIAS)


def add(user, *, address: str = PARTNER, gateway=None) -> SendAs:
    return add_address(actor=SYSTEM, user=user, address=address, details=DETAILS, gateway=gateway)


def default_of(user) -> str:
    return next(listed.address for listed in list_addresses(user) if listed.is_default)


def test_primary_and_aliases_stand_in_the_list_by_themselves(owner, alias):
    create_domain(
        actor=SYSTEM, name="yourdomain.net", kind=Domain.Kind.ALIAS,
        alias_of=Domain.objects.get(name="yourdomain.com"),
    )  # fmt: skip
    make_send_as(owner)
    listing = list_addresses(owner)
    assert [listed.address for listed in listing] == [
        "user@yourdomain.com",
        ALIAS,
        "user@yourdomain.net",
        "sales@yourdomain.net",
        PARTNER,
    ]
    assert [listed.is_own for listed in listing] == [True, True, True, True, False]
    assert listing[0].is_primary
    assert listing[0].display_name == owner.name
    assert listing[0].is_default


def test_an_address_is_added_waiting_for_proof(owner):
    send_as = add(owner, address="User.Name@PartnerDomain.com")
    assert send_as.send_as_email == PARTNER
    assert send_as.is_pending
    event = AuditEvent.objects.get(name="send_as_added")
    assert event.details == {"account": owner.primary_address, "gateway": ""}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nobody", "name@example.com"),
        ("USER@yourdomain.com", "yours already"),
        (ALIAS, "yours already"),
        ("User.Name@partnerdomain.com", "in your list already"),
        ("user.name@ｐartnerdomain.com", "cannot stand in one"),
        ("a b@partnerdomain.com", "cannot stand there"),
        ("", "name@example.com"),
    ],
)
def test_what_is_no_new_address_is_refused_with_its_reason(owner, alias, address, reason):
    make_send_as(owner)
    with pytest.raises(ValidationError) as refusal:
        clean_new_address(owner, address)
    assert reason in refusal.value.messages[0]


COLLEAGUE = "colleague@yourdomain.com"
# Spellings of what belongs to somebody else, or to nobody yet, in the organisation's domains, each
# with the address that the code goes to; None: refused.
OTHERS = {
    COLLEAGUE: COLLEAGUE,
    "Colleague@YourDomain.COM": COLLEAGUE,
    '"colleague"@yourdomain.com': COLLEAGUE,
    " colleague@yourdomain.com ": COLLEAGUE,
    "colleague+news@yourdomain.com": "colleague+news@yourdomain.com",
    "jonas@yourdomain.com": "jonas@yourdomain.com",
    "team@yourdomain.com": "team@yourdomain.com",
    "postmaster@yourdomain.com": "postmaster@yourdomain.com",
    "colleague@yourdomain.net": "colleague@yourdomain.net",
    "jonas@yourdomain.net": "jonas@yourdomain.net",
    "colleague@bücher.example": "colleague@xn--bcher-kva.example",
    "colleague@xn--bcher-kva.example": "colleague@xn--bcher-kva.example",
    "colleague@yourd\u043emain.com": "colleague@xn--yourdmain-42h.com",  # Cyrillic: another domain
    "colleague%yourdomain.com@partnerdomain.com": "colleague%yourdomain.com@partnerdomain.com",
    "c\u043elleague@yourdomain.com": None,
    "colleague@\uff59ourdomain.com": None,
    "colle\u00adague@yourdomain.com": None,
    "colleague\u200b@yourdomain.com": None,
    "colleague@yourdomain.com.": None,
    "colleague@yourdomain.com,x@partnerdomain.com": None,
    "colleague(x)@yourdomain.com": None,
    "@partnerdomain.com:colleague@yourdomain.com": None,
    "colleague\0@yourdomain.com": None,
    "colleague@yourdomain.com\r\nBcc: x@partnerdomain.com": None,
}


@pytest.mark.parametrize("typed", OTHERS)
def test_nobodys_address_is_taken_over(owner, colleague, mailoutbox, typed):
    """Refused, or worth nothing before the code that goes to that very address is typed."""
    main = Domain.objects.get(name="yourdomain.com")
    create_domain(actor=SYSTEM, name="yourdomain.net", kind=Domain.Kind.ALIAS, alias_of=main)
    create_domain(actor=SYSTEM, name="bücher.example", kind=Domain.Kind.SECONDARY)
    add_alias(actor=SYSTEM, user=colleague, address="jonas@yourdomain.com")
    kept = OTHERS[typed]
    if kept:
        send_proof(add(owner, address=typed))
        assert SendAs.objects.get().send_as_email == kept
        assert mailoutbox[0].recipients() == [kept]
    else:
        with pytest.raises(ValidationError):
            add(owner, address=typed)
    account = load_account(owner)
    for address in filter(None, (kept, typed, COLLEAGUE)):
        assert not account.owns(address)
        answer = decide(account, address, load_settings(owner))
        assert isinstance(answer, Refusal)
        assert answer.explanation.rule in {Rule.UNVERIFIED, Rule.NOT_OWNED}


@pytest.mark.django_db(transaction=True)
def test_of_many_adds_at_once_one_is_kept_and_none_passes_the_limit(owner):
    for number in range(MOST_ADDRESSES - 2):
        make_send_as(owner, address=f"a{number}@partnerdomain.com")

    def try_to_add(address: str) -> bool:
        try:
            add(owner, address=address)
        except ValidationError:
            return False
        finally:
            connection.close()
        return True

    addresses = [PARTNER] * 4 + [f"b{number}@partnerdomain.com" for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(try_to_add, addresses))
    assert sum(added) == 2
    assert sum(added[:4]) <= 1
    assert owner.send_as.count() == MOST_ADDRESSES
    assert AuditEvent.objects.filter(name="send_as_added").count() == 2


def test_a_list_holds_no_more_than_the_limit(owner):
    SendAs.objects.bulk_create(
        SendAs(user=owner, send_as_email=f"a{number}@example.com", verification_status="pending")
        for number in range(MOST_ADDRESSES)
    )
    with pytest.raises(ValidationError, match="takes no more"):
        add(owner)


def test_a_row_for_an_alias_that_is_gone_is_worth_nothing(owner, alias):
    make_default(actor=SYSTEM, user=owner, address=ALIAS)
    assert default_of(owner) == ALIAS
    remove_alias(actor=SYSTEM, alias=alias)
    assert [listed.address for listed in list_addresses(owner)] == [owner.primary_address]
    assert default_of(owner) == owner.primary_address
    answer = decide(load_account(owner), ALIAS, load_settings(owner))
    assert isinstance(answer, Refusal)
    assert answer.explanation.rule == Rule.NOT_OWNED
    # Added anew, it starts anew: not the default, not verified, not with the old name.
    assert add(owner, address=ALIAS).is_pending
    assert default_of(owner) == owner.primary_address


def test_there_is_one_default_and_the_primary_address_is_it_where_nothing_was_chosen(owner, alias):
    make_send_as(owner)
    for address in (ALIAS, PARTNER, owner.primary_address, PARTNER):
        make_default(actor=SYSTEM, user=owner, address=address)
        assert default_of(owner) == address
        assert sum(listed.is_default for listed in list_addresses(owner)) == 1


def test_a_default_that_is_deleted_falls_back_to_the_primary_address(owner):
    send_as = make_send_as(owner)
    make_default(actor=SYSTEM, user=owner, address=PARTNER)
    delete_address(actor=SYSTEM, send_as=send_as)
    assert default_of(owner) == owner.primary_address


def test_what_waits_for_proof_or_is_not_in_the_list_can_not_be_the_default(owner, colleague):
    make_pending(owner)
    with pytest.raises(ValidationError, match="once it is verified"):
        make_default(actor=SYSTEM, user=owner, address=PARTNER)
    with pytest.raises(ValidationError, match="not in your list"):
        make_default(actor=SYSTEM, user=owner, address=colleague.primary_address)


def test_an_alias_that_was_waiting_for_proof_can_be_the_default(owner):
    make_pending(owner, address=ALIAS)
    add_alias(actor=SYSTEM, user=owner, address=ALIAS)
    make_default(actor=SYSTEM, user=owner, address=ALIAS)
    assert default_of(owner) == ALIAS


def test_details_of_own_and_outside_addresses_change(owner):
    make_send_as(owner)
    changed = Details("Y. Tanaka", "office@yourdomain.com", treat_as_alias=False)
    for address in (owner.primary_address, PARTNER):
        row = change_details(actor=SYSTEM, user=owner, address=address, details=changed)
        assert Details(row.display_name, row.reply_to_address, row.treat_as_alias) == changed
    assert SendAs.objects.get(send_as_email=PARTNER).is_accepted
    with pytest.raises(ValidationError, match="not in your list"):
        change_details(actor=SYSTEM, user=owner, address="x@example.com", details=changed)
