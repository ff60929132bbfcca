"""What the decision needs out of the database, for pages. All synchronous.

Mail takes another way to the same (delivery/snapshot.py).
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from accounts.models import Domain, User
from accounts.models.directory import path_names
from accounts.services.people import own_addresses
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Gateway,
    OutboundGateway,
    OutsideAddress,
)
from policies.guardrails import Guardrails
from policies.models import GatewayFailure, Setting
from policies.services import Effective, Moment, applied_guardrails, applied_value
from sendas.models import Approval, SendAs, SmtpMsa
from sendas.upstream import relay
from smtp.address import split_address
from smtp.target import Security, Server


def load_account(user: User) -> AccountSnapshot:
    """The account as the decision sees it: addresses, gateways, unit, cohort."""
    own = own_addresses(user)
    inside = set(Domain.objects.values_list("name", flat=True))
    rows = SendAs.objects.filter(user=user).exclude(verification_status="")
    return AccountSnapshot(
        primary_address=user.primary_address,
        own_aliases=frozenset(own[1:]),
        outside={
            row.send_as_email: _outside(row, inside) for row in rows.select_related("smtp_msa")
        },
        suspended=user.suspended,
        unit=path_names(user.unit),
        cohort=user.cohort,
    )


def _outside(row: SendAs, inside: set[str]) -> OutsideAddress:
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    # A domain that became the organisation's own has no gateways any more.
    if msa is None or split_address(row.send_as_email)[1] in inside:
        return OutsideAddress(verified=row.is_accepted, suspended=row.is_suspended)
    server = Server(msa.host, msa.port, Security(msa.security_mode))
    gateway = Gateway(
        server,
        msa.credential_id,
        works=msa.works,
        wiped=not msa.has_password,
        approval=Approval(msa.approval),
    )
    return OutsideAddress(row.is_accepted, gateway, row.is_suspended)


def load_settings(user: User) -> AppliedSettings:
    """What is applied to the account's unit and cohort now."""
    path, cohort = user.unit.path, user.cohort
    return _settings(
        lambda setting: applied_value(path, cohort, setting), applied_guardrails(path, cohort)
    )


def settings_of(moment: Moment) -> AppliedSettings:
    """The same of another time; but for the installation's relay, which is today's."""
    return _settings(moment.effective, moment.guardrails())


def _settings(effective: Callable[[str], Effective], guardrails: Guardrails) -> AppliedSettings:
    applied = effective(Setting.PER_USER_OUTBOUND_GATEWAY)
    outbound = effective(Setting.OUTBOUND_GATEWAY)
    server, _credential = relay()
    return AppliedSettings(
        gateways_allowed=applied.allowed,
        deciding_unit=applied.unit.name if applied.unit else "",
        version=applied.version,
        relay=server,
        on_failure=GatewayFailure(effective(Setting.GATEWAY_FAILURE).value["choice"]),
        guardrails=guardrails,
        outbound=outbound_gateway(outbound.unit.name if outbound.unit else "", outbound.value),
    )


def outbound_gateway(unit: str, value: Mapping[str, Any]) -> OutboundGateway | None:
    """What a unit's value names; None for the installation's relay."""
    server = value["server"]
    if server is None:
        return None
    return OutboundGateway(
        Server(server["host"], server["port"], Security(server["security_mode"])),
        UUID(server["credential_id"]) if server["credential_id"] else None,
        unit,
    )
