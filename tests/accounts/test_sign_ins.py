"""Failed sign-ins of mail programs: who is held off, for how long, and who never is."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_network
from statistics import median
from time import perf_counter

import psycopg
import pytest
from django.db import connection, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import SignInRecord
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.sign_ins import FAILURES, UNTROUBLED, network_of, sign_in, untroubled_by
from accounts.tasks import forget_sign_ins

HERE, NEIGHBOUR, ELSEWHERE = "192.0.2.1", "192.0.2.200", "198.51.100.1"
WRONG = "aaaaa-aaaaa-aaaaa-aaaaa"


@pytest.fixture
def secret(owner) -> str:
    return create_app_password(actor=SYSTEM, user=owner, name="Laptop")[1]


def try_as(user, secret, peer=HERE):
    return sign_in(username=user.primary_address, secret=secret, peer=peer)


def fail(username, *, peer=HERE, times=FAILURES):
    return [sign_in(username=username, secret=WRONG, peer=peer) for _ in range(times)]


def pass_time(**elapsed):
    """As though all that is on record had happened so much earlier."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_signinrecord SET failed_at = ARRAY("
            " SELECT at - %(t)s FROM unnest(failed_at) AS at ORDER BY at)",
            {"t": timedelta(**elapsed)},
        )
    SignInRecord.objects.update(
        succeeded_at=F("succeeded_at") - timedelta(**elapsed),
        expires_at=F("expires_at") - timedelta(**elapsed),
    )


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("local", "local"),
    ],
)
def test_a_network_is_a_24_or_a_64(peer, network):
    assert network_of(peer) == network


def test_ten_failures_block_the_name_from_that_network_and_nowhere_else(owner, colleague, secret):
    assert all(each.blocked_for is None for each in fail(owner.primary_address))
    for peer in (HERE, NEIGHBOUR):
        blocked = try_as(owner, secret, peer)
        assert blocked.app_password is None
        assert blocked.delay == 5
        assert timedelta(minutes=9) < blocked.blocked_for <= timedelta(minutes=10)
    assert try_as(owner, secret, ELSEWHERE).app_password
    _row, other = create_app_password(actor=SYSTEM, user=colleague, name="Phone")
    assert try_as(colleague, other).app_password


def test_what_is_blocked_is_not_even_compared(owner, secret):
    fail(owner.primary_address)
    with CaptureQueriesContext(connection) as queries:
        try_as(owner, secret)
    assert len(queries) == 1
    assert "app_password" not in queries[0]["sql"]


def test_a_block_ends_by_itself_and_tries_while_it_lasts_do_not_prolong_it(owner, secret):
    fail(owner.primary_address)
    pass_time(minutes=9)
    fail(owner.primary_address)
    assert timedelta(0) < try_as(owner, secret).blocked_for <= timedelta(minutes=1)
    pass_time(minutes=1)
    assert try_as(owner, secret).app_password


def test_it_counts_ten_minutes_back_from_each_moment(owner, secret):
    fail(owner.primary_address, times=5)
    pass_time(minutes=6)
    fail(owner.primary_address, times=4)
    pass_time(minutes=6)
    fail(owner.primary_address, times=5)
    assert try_as(owner, secret).app_password
    fail(owner.primary_address, times=1)
    assert try_as(owner, secret).blocked_for <= timedelta(minutes=4)


def test_a_right_one_in_between_takes_no_failure_back(owner, secret):
    fail(owner.primary_address, times=9)
    assert try_as(owner, secret).app_password
    fail(owner.primary_address, times=1)
    assert try_as(owner, secret).blocked_for


@pytest.mark.parametrize("name", ["nobody@yourdomain.com", "nobody@elsewhere.example", "me", "ü@"])
def test_a_name_that_nobody_has_is_counted_like_an_account(db, name):
    assert not any(each.blocked_for for each in fail(name))
    assert fail(name.upper(), times=1)[0].blocked_for


def test_what_is_no_address_is_not_kept(db):
    sign_in(username="a password in the wrong place", secret=WRONG, peer=HERE)
    assert set(SignInRecord.objects.values_list("name", flat=True)) == {""}


def test_failures_all_over_the_world_delay_newcomers_and_only_them(owner, secret):
    assert try_as(owner, secret).app_password
    for number in range(60):
        fail(owner.primary_address, peer=f"203.0.{number}.1", times=1)
    known, newcomer = try_as(owner, secret), try_as(owner, secret, ELSEWHERE)
    assert (known.delay, newcomer.delay) == (0, 6)
    assert known.app_password
    assert newcomer.app_password
    for number in range(60):
        fail(owner.primary_address, peer=f"203.1.{number}.1", times=1)
    assert try_as(owner, WRONG, "203.2.0.1").delay == 10
    assert try_as(owner, secret).delay == 0


def test_a_network_is_known_for_thirty_days(owner, secret):
    try_as(owner, secret)
    for days, delay in ((29, 0), (2, 1)):
        pass_time(days=days)
        for number in range(10):
            fail(owner.primary_address, peer=f"203.0.{number}.1", times=1)
        assert sign_in(username=owner.primary_address, secret=WRONG, peer=HERE).delay == delay
        SignInRecord.objects.filter(network="").delete()


def test_a_network_that_is_known_costs_one_query_more_and_no_write(
    owner, secret, django_assert_num_queries
):
    try_as(owner, secret)
    recorded = SignInRecord.objects.get().succeeded_at
    with CaptureQueriesContext(connection) as queries:
        try_as(owner, secret)
    assert sum("signinrecord" in query["sql"] for query in queries) == 1
    pass_time(hours=25)
    try_as(owner, secret)
    assert SignInRecord.objects.get().succeeded_at >= recorded


def is_untroubled(user, peer=HERE):
    connection.ensure_connection()
    with psycopg.RawCursor(connection.connection) as cursor:
        cursor.execute(UNTROUBLED, untroubled_by(user.primary_address.upper(), peer))
        return bool(cursor.fetchall())


def test_only_who_is_known_and_not_blocked_passes_without_the_whole_check(owner, secret):
    assert not is_untroubled(owner)
    try_as(owner, secret)
    fail(owner.primary_address, times=9)
    assert is_untroubled(owner, NEIGHBOUR)
    assert not is_untroubled(owner, ELSEWHERE)
    fail(owner.primary_address, times=1)
    assert not is_untroubled(owner)
    pass_time(minutes=10)
    assert is_untroubled(owner)
    pass_time(hours=24)
    assert not is_untroubled(owner)


def test_an_unknown_name_and_a_wrong_password_do_the_same(owner, secret):
    def statements(username):
        with CaptureQueriesContext(connection) as queries:
            fail(username, times=1)
        return [query["sql"].replace(username, "NAME") for query in queries]

    assert statements(owner.primary_address) == statements("nobody@yourdomain.com")
    assert len(statements(owner.primary_address)) == 3


def test_named_networks_are_neither_counted_nor_held_off(owner, secret, settings):
    settings.OUTGATE_SIGN_IN_EXEMPT_NETWORKS = (ip_network("192.0.2.0/24"),)
    fail(owner.primary_address, times=FAILURES + 1)
    assert try_as(owner, secret).app_password
    assert not SignInRecord.objects.exists()
    fail(owner.primary_address, peer=ELSEWHERE)
    assert try_as(owner, secret, ELSEWHERE).blocked_for


def test_what_says_nothing_any_more_is_forgotten(owner, secret):
    fail(owner.primary_address, peer=ELSEWHERE)
    try_as(owner, secret)
    forget_sign_ins()
    assert SignInRecord.objects.count() == 3
    pass_time(minutes=11)
    forget_sign_ins()
    assert SignInRecord.objects.get().network == "192.0.2.0/24"
    pass_time(days=30)
    forget_sign_ins()
    assert not SignInRecord.objects.exists()


def test_failures_at_once_are_all_counted(owner, transactional_db):
    def fail_once(number):
        try:
            fail(owner.primary_address, peer=f"192.0.{number % 4}.1", times=1)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fail_once, range(36)))
    counts = {row.network: len(row.failed_at) for row in SignInRecord.objects.all()}
    assert counts == {"": 36} | {f"192.0.{number}.0/24": 9 for number in range(4)}


@pytest.mark.slow
def test_how_far_apart_an_unknown_name_and_a_wrong_password_are(owner, settings, capsys):
    """In turn, so that a busy machine slows down both alike."""
    for number in range(20):
        create_app_password(actor=SYSTEM, user=owner, name=f"Program {number}")
    names = (owner.primary_address, "nobody@yourdomain.com")
    seconds = {name: [] for name in names}
    for number in range(1_000):
        for name in names:
            started = perf_counter()
            [answer] = fail(name, peer=f"10.{number // 250}.{number % 250}.1", times=1)
            seconds[name].append(perf_counter() - started)
            assert answer.app_password is answer.blocked_for is None
    wrong, unknown = (median(each) * 1_000 for each in seconds.values())
    with capsys.disabled():
        print(f"\nwrong password {wrong:.2f} ms, unknown name {unknown:.2f} ms (medians)")
    assert abs(wrong - unknown) < 5
