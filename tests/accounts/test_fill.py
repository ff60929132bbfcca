import pytest
from django.core.management import CommandError, call_command

from accounts.models import AccountCount, AuditEvent, OrgUnit, User
from accounts.models.people import home_cohort
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user, move_user


def counted():
    rows = AccountCount.objects.exclude(accounts=0)
    return {(row.unit_id, row.cohort): row.accounts for row in rows}


def afresh():
    counts = {}
    for user in User.objects.all():
        key = user.unit_id, user.cohort
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_every_row_is_valid_for_the_application(db, capsys):
    call_command("fill_accounts", accounts=300, units=70)
    assert "300 accounts in 70 units after" in capsys.readouterr().out
    assert OrgUnit.objects.count() == 70
    assert OrgUnit.objects.find_problems() == ([], [], [], [], [])
    for user in User.objects.all():
        user.full_clean()
        assert user.cohort == home_cohort(user.id, 12)
        assert not user.has_usable_password()
    assert counted() == afresh()
    assert AuditEvent.objects.filter(name="database_filled").count() == 1


def test_made_up_accounts_are_like_others(db):
    call_command("fill_accounts", accounts=30, units=3)
    user, unit = User.objects.earliest("primary_address"), OrgUnit.objects.last()
    move_user(actor=SYSTEM, user=user, unit=unit)
    create_user(actor=SYSTEM, primary_address="new@filled.example", name="New", unit=unit)
    assert counted() == afresh()


def test_where_accounts_are_it_asks_first(owner):
    with pytest.raises(CommandError, match="--beside-real-accounts"):
        call_command("fill_accounts", accounts=10, units=2)
    assert User.objects.count() == 1
    call_command("fill_accounts", accounts=10, units=2, beside_real_accounts=True)
    assert User.objects.count() == 11
    assert OrgUnit.objects.find_problems() == ([], [], [], [], [])
    with pytest.raises(CommandError, match="filled before"):
        call_command("fill_accounts", accounts=10, units=2, beside_real_accounts=True)


@pytest.mark.parametrize(("accounts", "units"), [(0, 5), (5, 0), (5, 300_000), (-1, 1)])
def test_numbers_that_make_no_sense_are_refused(db, accounts, units):
    with pytest.raises(CommandError, match="at least one"):
        call_command("fill_accounts", accounts=accounts, units=units)


def test_counts_follow_every_way_that_accounts_change(owner, colleague, stranger, organisation):
    assert counted() == afresh()
    User.objects.filter(pk=owner.pk).update(cohort=0)
    User.objects.filter(pk__in=[owner.pk, stranger.pk]).update(unit=organisation.root)
    User.objects.update(name="Somebody")
    assert counted() == afresh()
    User.objects.filter(pk__in=[owner.pk, colleague.pk]).delete()
    assert counted() == afresh()
