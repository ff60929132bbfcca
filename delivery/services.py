"""What the decision needs out of the database, for pages. All synchronous.

Mail takes another way to the same (delivery/snapshot.py).
"""

from accounts.models import Domain, User
from accounts.models.directory import path_names
from accounts.services.people import own_addresses
from delivery.routing import AccountSnapshot, AppliedSettings, Gateway, OutsideAddress
from policies.models import GatewayFailure, Setting
from policies.services import applied_guardrails, applied_value
from sendas.models import Approval, SendAs, SmtpMsa
from sendas.upstream import relay
from smtp.address import split_address
from smtp.client import Security, Server


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
    applied = applied_value(user.unit.path, user.cohort, Setting.PER_USER_OUTBOUND_GATEWAY)
    failure = applied_value(user.unit.path, user.cohort, Setting.GATEWAY_FAILURE)
    server, _credential = relay()
    return AppliedSettings(
        gateways_allowed=applied.allowed,
        deciding_unit=applied.unit.name if applied.unit else "",
        version=applied.version,
        relay=server,
        on_failure=GatewayFailure(failure.value["choice"]),
        guardrails=applied_guardrails(user.unit.path, user.cohort),
    )
