"""What the decision needs out of the database, and the delivery log. All synchronous."""

from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.models import AppPassword, Domain, User
from accounts.models.directory import path_names
from accounts.services.people import own_addresses
from delivery.models import Delivery, DeliveryRecipient
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Gateway,
    OutsideAddress,
    Refusal,
    Route,
    decide,
)
from policies.models import Setting
from policies.services import applied_value
from sendas.models import SendAs, SmtpMsa
from sendas.services.addresses import gateway_password
from sendas.upstream import relay
from smtp.address import split_address
from smtp.client import Credential, Security, Server


class AppPasswordRevokedError(Exception):
    """The app password that a session signed in with was revoked meanwhile."""


class Decided(NamedTuple):
    account: AccountSnapshot
    answer: Route | Refusal


def load_account(user: User) -> AccountSnapshot:
    """The account as the decision sees it: addresses, gateways, unit, cohort."""
    own = own_addresses(user)
    inside = set(Domain.objects.values_list("name", flat=True))
    rows = SendAs.objects.filter(user=user).exclude(verification_status="")
    return replace(
        _load_primary(user),
        own_aliases=frozenset(own[1:]),
        outside={
            row.send_as_email: _outside(row, inside) for row in rows.select_related("smtp_msa")
        },
    )


def _load_primary(user: User) -> AccountSnapshot:
    return AccountSnapshot(
        primary_address=user.primary_address,
        suspended=user.suspended,
        unit=path_names(user.unit),
        cohort=user.cohort,
    )


def _outside(row: SendAs, inside: set[str]) -> OutsideAddress:
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    # A domain that became the organisation's own has no gateways any more.
    if msa is None or split_address(row.send_as_email)[1] in inside:
        return OutsideAddress(verified=row.is_accepted)
    server = Server(msa.host, msa.port, Security(msa.security_mode))
    gateway = Gateway(server, msa.credential_id, works=msa.refused_at is None)
    return OutsideAddress(verified=row.is_accepted, gateway=gateway)


def load_settings(user: User) -> AppliedSettings:
    """What is applied to the account's unit and cohort now."""
    applied = applied_value(user.unit.path, user.cohort, Setting.PER_USER_OUTBOUND_GATEWAY)
    server, _credential = relay()
    return AppliedSettings(
        gateways_allowed=applied.allowed,
        deciding_unit=applied.unit.name if applied.unit else "",
        version=applied.version,
        relay=server,
    )


def decide_for_session(
    app_password_id: int, from_address: str, *, all_addresses: bool = False
) -> Decided:
    """Ask the decision for the account behind an app password. Raises AppPasswordRevokedError.

    Without `all_addresses`, the account's other addresses (four queries) are left out where the
    answer cannot depend on them.
    """
    app_password = (
        AppPassword.objects.select_related("user__unit")
        .filter(pk=app_password_id, revoked_at=None)
        .first()
    )
    if app_password is None:  # revoked, or gone with its account
        raise AppPasswordRevokedError
    user = app_password.user
    is_primary = from_address == user.primary_address and not all_addresses
    account = _load_primary(user) if is_primary else load_account(user)
    return Decided(account, decide(account, from_address, load_settings(user)))


def load_credential(credential_id: UUID) -> Credential:
    """User name and password of a gateway. Raises SmtpMsa.DoesNotExist, CredentialError."""
    msa = SmtpMsa.objects.get(credential_id=credential_id)
    return Credential(msa.username, gateway_password(msa))


class Message(NamedTuple):
    """What the log says of a message, whatever becomes of it."""

    user_id: UUID
    account_address: str
    from_address: str
    message_id: str
    recipients: list[str]
    size: int = 0


def log_handing_over(
    *, message: Message, route: Route, envelope_sender: str, tls_version: str
) -> UUID:
    """Commit that a message is about to get its final dot; returns the delivery's id."""
    with transaction.atomic():
        delivery = Delivery.objects.create(
            **_columns(message),
            state=Delivery.State.HANDING_OVER,
            route=route.kind,
            server=f"{route.server.host}:{route.server.port}",
            tls_version=tls_version,
            envelope_sender=envelope_sender,
            sender=route.sender,
            credential_id=route.credential_id,
            explanation=route.explanation.as_json(),
        )
        _log_recipients(delivery, message)
    return delivery.pk


def log_outcome(delivery_id: UUID, *, state: str, reply: str, size: int) -> None:
    """Add how it ended to a delivery that was handing over."""
    Delivery.objects.filter(pk=delivery_id).update(
        state=state, reply=reply[:1000], size=size, finished_at=Now()
    )


def log_refusal(*, message: Message, answer: Route | Refusal, reply: str) -> None:
    """Record a message that got no final dot, with the reply that its author heard."""
    route = answer if isinstance(answer, Route) else None
    with transaction.atomic():
        delivery = Delivery.objects.create(
            **_columns(message),
            state=Delivery.State.REFUSED,
            route=route.kind if route else "",
            server=f"{route.server.host}:{route.server.port}" if route else "",
            credential_id=route.credential_id if route else None,
            explanation=answer.explanation.as_json(),
            reply=reply[:1000],
            finished_at=Now(),
        )
        _log_recipients(delivery, message)


def _columns(message: Message) -> dict[str, object]:
    return {
        "account_id": message.user_id,
        "account_address": message.account_address,
        "from_address": message.from_address,
        "message_id": message.message_id[:998],
        "size": message.size,
    }


def _log_recipients(delivery: Delivery, message: Message) -> None:
    DeliveryRecipient.objects.bulk_create(
        DeliveryRecipient(delivery=delivery, address=address) for address in message.recipients
    )
