"""App passwords: what mail programs sign in with, never the web password."""

import hmac
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.models import AppPassword, User
from accounts.models.app_passwords import digest_secret, generate_secret
from accounts.services.audit import Actor, Event, record_event, record_events
from accounts.services.rights import demand_owner, demand_owner_or_support
from smtp.address import AddressError, normalise_address
from smtp.network import network_of

# "Last used" is told to the minute's quarter of an hour: one write per mail would be too dear.
LAST_USED_RESOLUTION = timedelta(minutes=15)

# Each sign-in compares with all of them. Far more than anybody has mail programs.
MOST = 50


def create_app_password(*, actor: Actor, user: User, name: str) -> tuple[AppPassword, str]:
    """For the account itself: the row, and the secret, shown once and kept nowhere.

    Raise ValidationError where the account has too many.
    """
    secret = generate_secret()
    with transaction.atomic():
        demand_owner(actor, user)
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if user.app_passwords.filter(revoked_at=None).count() >= MOST:
            raise ValidationError(
                _(
                    "You have %(number)d app passwords, which is the most. Revoke one that you "
                    "don't use any more, then create this one."
                )
                % {"number": MOST}
            )
        app_password = AppPassword.objects.create(
            user=user, name=name, digest=digest_secret(secret)
        )
        record_event(
            actor,
            "app_password_created",
            user.primary_address,
            unit=user.unit,
            app_password=name,
        )
    return app_password, secret


def revoke_app_password(*, actor: Actor, app_password: AppPassword) -> None:
    """For its owner, support, and whoever administers the account."""
    with transaction.atomic():
        demand_owner_or_support(actor, app_password.user)
        revoked = AppPassword.objects.filter(pk=app_password.pk, revoked_at=None)
        if revoked.update(revoked_at=Now()):
            record_event(
                actor,
                "app_password_revoked",
                app_password.user.primary_address,
                unit=app_password.user.unit,
                app_password=app_password.name,
            )


def revoke_all_app_passwords(*, actor: Actor, user: User) -> int:
    """As revoke_app_password for all that the account has now; how many they were."""
    with transaction.atomic():
        demand_owner_or_support(actor, user)
        usable = user.app_passwords.filter(revoked_at=None)
        revoked = list(usable.select_for_update(no_key=True))
        usable.filter(pk__in=[each.pk for each in revoked]).update(revoked_at=Now())
        events = [
            Event(user.unit, user.primary_address, {"app_password": each.name}) for each in revoked
        ]
        record_events(actor, "app_password_revoked", events)
    return len(revoked)


def authenticate_app_password(username: str, secret: str, *, peer: str = "") -> AppPassword | None:
    """The app password of the account that has `username` as primary address, or None.

    `peer` is the client's address; its network is noted as where the app password is used. An
    unknown account and a wrong password cost the same queries and one comparison each.
    """
    try:
        address = normalise_address(username)
    except AddressError:
        address = ""
    wanted = digest_secret(secret)
    found = None
    for app_password in AppPassword.objects.select_related("user").filter(
        user__primary_address=address, user__suspended=False, revoked_at=None
    ):
        if hmac.compare_digest(bytes(app_password.digest), wanted):
            found = app_password
    if found:
        network = network_of(peer)
        AppPassword.objects.filter(
            Q(last_used_at=None)
            | Q(last_used_at__lt=Now() - LAST_USED_RESOLUTION)
            | ~Q(last_used_network=network),
            pk=found.pk,
        ).update(last_used_at=Now(), last_used_network=network)
    return found
