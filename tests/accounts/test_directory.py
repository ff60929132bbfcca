import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from accounts.models import AuditEvent, Domain, OrgUnit
from accounts.models.directory import path_names
from accounts.services import directory
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user


def test_a_unit_is_written_with_its_ancestors(organisation):
    assert path_names(organisation.partner_desk) == "yourdomain.com › Sales › Partner desk"


def test_a_unit_moves_with_all_below_it_and_the_tree_stays_whole(organisation):
    directory.move_unit(actor=SYSTEM, unit=organisation.sales, parent=organisation.support_unit)
    desk = OrgUnit.objects.get(pk=organisation.partner_desk.pk)
    assert path_names(desk) == "yourdomain.com › Support › Sales › Partner desk"
    assert OrgUnit.objects.find_problems() == ([], [], [], [], [])


def test_a_unit_cannot_move_below_itself(organisation):
    with pytest.raises(ValidationError, match="below itself"):
        directory.move_unit(actor=SYSTEM, unit=organisation.sales, parent=organisation.partner_desk)


def test_siblings_have_different_names(organisation):
    with pytest.raises(ValidationError, match="stands there already"):
        directory.create_unit(actor=SYSTEM, name="sales ", parent=organisation.root)
    directory.create_unit(actor=SYSTEM, name="Sales", parent=organisation.sales)


def test_there_is_one_root(organisation):
    with pytest.raises(ValidationError, match="one topmost unit"):
        directory.create_unit(actor=SYSTEM, name="other.example")


def test_a_domain_is_kept_as_a_lower_case_a_label(organisation):
    domain = directory.create_domain(actor=SYSTEM, name="BÜCHER.example")
    assert domain.name == "xn--bcher-kva.example"


def test_an_alias_domain_names_its_target_and_no_other_does(organisation):
    with pytest.raises(ValidationError):
        directory.create_domain(actor=SYSTEM, name="b.example", kind=Domain.Kind.ALIAS)


def test_what_is_no_domain_is_refused_with_the_form_of_one(organisation):
    with pytest.raises(ValidationError):
        directory.create_domain(actor=SYSTEM, name="two words")


def test_every_change_of_the_tree_stands_in_the_audit(organisation):
    directory.rename_unit(actor=SYSTEM, unit=organisation.sales, name="Trade")
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.target) == ("unit_renamed", "yourdomain.com › Trade")
    assert event.details["old"] == "yourdomain.com › Sales"


@pytest.mark.django_db(transaction=True)
def test_a_domain_becomes_an_alias_or_gets_an_account_not_both_at_once(organisation):
    primary = Domain.objects.get()
    outcome = []

    def add_the_domain():
        try:
            directory.create_domain(
                actor=SYSTEM, name="second.example", kind="alias", alias_of=primary
            )
        except ValidationError as refusal:
            outcome.append(refusal.messages[0])
        connection.close()

    adding = threading.Thread(target=add_the_domain)
    with transaction.atomic():
        create_user(
            actor=SYSTEM, primary_address="a@second.example", name="A", unit=organisation.sales
        )
        adding.start()
        adding.join(0.3)
    adding.join()
    assert outcome == ["Accounts have addresses in second.example. Move them first."]
