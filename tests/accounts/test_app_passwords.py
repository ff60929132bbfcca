from accounts.models import AppPassword, AuditEvent
from accounts.services.app_passwords import (
    authenticate_app_password,
    create_app_password,
    revoke_app_password,
)
from accounts.services.audit import SYSTEM
from accounts.services.people import suspend_user


def test_the_secret_has_a_hundred_random_bits_and_is_kept_as_a_digest_only(owner):
    app_password, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    letters = secret.replace("-", "")
    assert len(letters) * 5 >= 100
    row = AppPassword.objects.values().get(pk=app_password.pk)
    assert len(bytes(row["digest"])) == 32
    assert secret not in str(row)
    assert letters not in str(list(AuditEvent.objects.values()))


def test_it_signs_in_however_it_was_typed(owner):
    app_password, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    for typed in (secret, secret.replace("-", ""), secret.upper(), secret.replace("-", " ")):
        assert authenticate_app_password("USER@yourdomain.com", typed) == app_password


def test_it_signs_in_nobody_else_and_the_web_password_signs_in_nowhere(owner, colleague):
    _row, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    assert authenticate_app_password(colleague.primary_address, secret) is None
    assert authenticate_app_password(owner.primary_address, "correct horse battery staple") is None
    assert authenticate_app_password("no address", secret) is None


def test_a_revoked_one_and_one_of_a_suspended_account_sign_in_nobody(owner):
    first, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    revoke_app_password(actor=SYSTEM, app_password=first)
    assert authenticate_app_password(owner.primary_address, secret) is None
    _second, secret = create_app_password(actor=SYSTEM, user=owner, name="Phone")
    suspend_user(actor=SYSTEM, user=owner)
    assert authenticate_app_password(owner.primary_address, secret) is None


def test_an_unknown_account_and_a_wrong_password_cost_the_same_queries(
    owner, django_assert_num_queries
):
    create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    for username in (owner.primary_address, "nobody@yourdomain.com"):
        with django_assert_num_queries(1):
            authenticate_app_password(username, "aaaaa-aaaaa-aaaaa-aaaaa")


def test_last_used_is_written_once_in_a_while(owner, django_assert_num_queries):
    _row, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    authenticate_app_password(owner.primary_address, secret)
    first = AppPassword.objects.get().last_used_at
    authenticate_app_password(owner.primary_address, secret)
    assert AppPassword.objects.get().last_used_at == first is not None


def test_another_network_is_written_at_once(owner):
    _row, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    for peer, network in (
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:198.51.100.1", "198.51.100.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ):
        authenticate_app_password(owner.primary_address, secret, peer=peer)
        assert AppPassword.objects.get().last_used_network == network
