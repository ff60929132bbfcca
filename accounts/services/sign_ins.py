"""Sign-ins of mail programs: who fails again and again is held off, and nobody else is.

Failures are counted by the name as it was typed, so that a name that nobody has counts like an
account, and by the client's network. Each network answers for its own failures only: too many of
them block the name from there. All networks' failures together make newcomers wait, never those who
signed in from where they are not long ago.
"""

from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from accounts.models import AppPassword, SignInRecord
from accounts.services.app_passwords import authenticate_app_password
from smtp.address import AddressError, normalise_address
from smtp.network import address_of, network_of

WITHIN = timedelta(minutes=10)
FAILURES = 10  # of a name from one network within that time; then it is blocked from there
FAILURES_EVERYWHERE = 100  # as many are counted
FAILURES_PER_SECOND = 10  # each so many, from everywhere, delay answers to newcomers by a second
BLOCKED_SECONDS = 5.0  # a blocked one waits as a wrong one does, or trying would cost nothing
KNOWN_FOR = timedelta(days=30)
# One write a day for each network that somebody signs in from, not one for each sign-in.
KNOWN_RESOLUTION = timedelta(days=1)


# One row where `sign_in` would let a right password pass at once and write nothing, for whoever can
# ask it at a lower price; takes what `untroubled_by` gives. No row: only `sign_in` can tell.
UNTROUBLED = f"""
SELECT 1 FROM accounts_signinrecord
 WHERE name = $1 AND network = $2
   AND succeeded_at > now() - interval '{KNOWN_RESOLUTION}'
   AND {FAILURES} > (SELECT count(*) FROM unnest(failed_at) AS at
                      WHERE at > now() - interval '{WITHIN}')
"""  # noqa: S608  (only our own constants stand in it)


class SignIn(NamedTuple):
    """The app password, or None where it was wrong; nothing was looked at if `blocked_for`.

    The answer, whichever it is, has to wait `delay` seconds.
    """

    app_password: AppPassword | None
    blocked_for: timedelta | None = None
    delay: float = 0.0


class Standing(NamedTuple):
    """What the records say of a name and a network before anybody signs in."""

    blocked_for: timedelta | None = None
    delay: float = 0.0
    is_recorded: bool = False  # as one that signed in well, a day ago at most


def sign_in(*, username: str, secret: str, peer: str, known: AppPassword | None = None) -> SignIn:
    """Check an app password, unless too many were wrong; count it if this one is.

    `known`: the one that it is, where that was found out before and still holds.

    Costs one query more than the check itself, and one statement for a failure. An unknown name and
    a wrong password run the same statements.
    """
    if is_exempt(peer):
        return SignIn(known or authenticate_app_password(username, secret, peer=peer))
    name, network = _counted_name(username), network_of(peer)
    standing = _look_up(name, network)
    if standing.blocked_for:
        return SignIn(None, standing.blocked_for, max(standing.delay, BLOCKED_SECONDS))
    app_password = known or authenticate_app_password(username, secret, peer=peer)
    if app_password is None:
        _record_failure(name, network)
    elif not standing.is_recorded:
        _record_success(name, network)
    return SignIn(app_password, delay=standing.delay)


def is_exempt(peer: str) -> bool:
    """Whether failures from there are not counted."""
    address = address_of(peer)
    return address is not None and any(
        address in network for network in settings.OUTGATE_SIGN_IN_EXEMPT_NETWORKS
    )


def untroubled_by(username: str, peer: str) -> tuple[str, str]:
    """The parameters of UNTROUBLED."""
    return _counted_name(username), network_of(peer)


def _counted_name(username: str) -> str:
    """What is no address is nobody's name, and may be a password in the wrong place: not kept."""
    try:
        return normalise_address(username)
    except AddressError:
        return ""


def _look_up(name: str, network: str) -> Standing:
    records = SignInRecord.objects.filter(
        name=name, network__in=(network, SignInRecord.EVERYWHERE)
    ).values_list("network", "failed_at", "succeeded_at", Now())
    blocked_for, failures, known_since = None, 0, None
    for of, failed_at, succeeded_at, now in records:
        recent = [at for at in failed_at if at > now - WITHIN]
        if of == SignInRecord.EVERYWHERE:
            failures = len(recent)
        else:
            known_since = now - succeeded_at if succeeded_at else None
            if len(recent) >= FAILURES:
                blocked_for = recent[-FAILURES] + WITHIN - now
    is_known = known_since is not None and known_since < KNOWN_FOR
    return Standing(
        blocked_for=blocked_for,
        delay=0.0 if is_known else float(failures // FAILURES_PER_SECOND),
        is_recorded=known_since is not None and known_since < KNOWN_RESOLUTION,
    )


def _record_failure(name: str, network: str) -> None:
    """Append to both records in one statement, in one order, so that two can't deadlock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO accounts_signinrecord AS record (name, network, failed_at, expires_at)
            SELECT %(name)s, network, ARRAY[now()], now() + %(within)s::interval
            FROM unnest(%(networks)s::text[]) AS network
            ON CONFLICT (name, network) DO UPDATE SET
                failed_at = ARRAY(
                    SELECT at FROM (
                        SELECT at FROM unnest(record.failed_at || now()) AS at
                        WHERE at > now() - %(within)s::interval
                        ORDER BY at DESC
                        LIMIT CASE record.network WHEN '' THEN %(everywhere)s ELSE %(here)s END
                    ) AS newest ORDER BY at
                ),
                expires_at = greatest(record.expires_at, excluded.expires_at)
            """,
            {
                "name": name,
                "networks": [network, SignInRecord.EVERYWHERE],
                "within": str(WITHIN),
                "here": FAILURES,
                "everywhere": FAILURES_EVERYWHERE,
            },
        )


def _record_success(name: str, network: str) -> None:
    """Its failures stay, here and elsewhere: who signs in well resets nobody's count."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO accounts_signinrecord AS record
                (name, network, failed_at, succeeded_at, expires_at)
            VALUES (%(name)s, %(network)s, '{}', now(), now() + %(known_for)s::interval)
            ON CONFLICT (name, network) DO UPDATE SET
                succeeded_at = excluded.succeeded_at, expires_at = excluded.expires_at
            """,
            {"name": name, "network": network, "known_for": str(KNOWN_FOR)},
        )
