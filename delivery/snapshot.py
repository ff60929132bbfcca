"""All that a decision about an account's mail is made of, in one statement.

The pages ask Django's models for the same (delivery/services.py); a test holds the two together.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from accounts.models import Domain, OrgUnit
from delivery.link import Link
from delivery.routing import AccountSnapshot, AppliedSettings, Gateway, OutsideAddress
from delivery.services import outbound_gateway
from policies.guardrails import merge
from policies.models import DEFAULTS, GatewayFailure, Setting
from sendas.models import Approval, SendAs
from sendas.upstream import relay
from smtp.target import Security, Server

STATEMENT = f"""
SELECT account.primary_address, account.suspended, account.cohort,
       ARRAY(SELECT above.name FROM accounts_orgunit above
              WHERE above.path = ANY(line.paths) ORDER BY above.path),
       ARRAY(SELECT address FROM accounts_alias WHERE user_id = account.id
              UNION ALL
             SELECT left(stated.address, -length(target.name)) || alias.name
               FROM (SELECT account.primary_address AS address
                      UNION ALL
                     SELECT address FROM accounts_alias WHERE user_id = account.id) stated
               JOIN accounts_domain target ON target.name = substring(stated.address, '[^@]*$')
               JOIN accounts_domain alias ON alias.alias_of_id = target.id
                AND alias.kind = '{Domain.Kind.ALIAS}'),
       (SELECT json_agg(json_build_array(
                   outside.send_as_email,
                   outside.verification_status = '{SendAs.VerificationStatus.ACCEPTED}',
                   outside.suspended_at IS NOT NULL,
                   msa.host, msa.port, msa.security_mode, msa.credential_id,
                   msa.refused_at IS NULL AND msa.wiped_at IS NULL,
                   msa.wiped_at IS NOT NULL, msa.approval,
                   EXISTS(SELECT FROM accounts_domain inside
                           WHERE inside.name = substring(outside.send_as_email, '[^@]*$'))))
          FROM sendas_sendas outside
          LEFT JOIN sendas_smtpmsa msa ON msa.send_as_id = outside.id
         WHERE outside.user_id = account.id AND outside.verification_status <> ''),
       (SELECT json_agg(json_build_array(policy.setting, decider.name, policy.version, policy.value)
                        ORDER BY decider.path)
          FROM policies_appliedpolicy policy
          JOIN accounts_orgunit decider ON decider.id = policy.unit_id
         WHERE policy.cohort = account.cohort AND decider.path = ANY(line.paths)
           AND policy.value IS NOT NULL)
  FROM accounts_apppassword app_password
  JOIN accounts_user account ON account.id = app_password.user_id
  JOIN accounts_orgunit unit ON unit.id = account.unit_id
 CROSS JOIN LATERAL (
       SELECT ARRAY(SELECT left(unit.path, depth * {OrgUnit.steplen})
                      FROM generate_series(1, length(unit.path) / {OrgUnit.steplen}) depth) AS paths
       ) line
 WHERE app_password.id = $1 AND app_password.revoked_at IS NULL
"""  # noqa: S608  (only our own constants stand in it)


# The unit's name, the version of its value, and the value.
Decided = tuple[str, int, dict[str, Any]]
AppliedRow = tuple[str, str, int, dict[str, Any]]  # the setting before these


class Snapshot(NamedTuple):
    account: AccountSnapshot
    settings: AppliedSettings


async def load_snapshot(link: Link, app_password_id: int) -> Snapshot | None:
    """The account behind an app password as it is now; None: revoked, or gone with its account.

    Raises AwayError.
    """
    rows = await link.fetch(STATEMENT, (app_password_id,))
    if not rows:
        return None
    [(primary, suspended, cohort, units, aliases, outside, applied)] = rows
    account = AccountSnapshot(
        primary_address=primary,
        own_aliases=frozenset(aliases) - {primary},
        outside={address: _outside(*rest) for address, *rest in outside or ()},
        suspended=suspended,
        unit=" › ".join(units),
        cohort=cohort,
    )
    return Snapshot(account, _settings(applied or ()))


def _outside(
    verified: bool,  # noqa: FBT001  (columns of a row, in their order)
    suspended: bool,  # noqa: FBT001
    host: str | None,
    port: int,
    security: str,
    credential_id: str,
    works: bool,  # noqa: FBT001
    wiped: bool,  # noqa: FBT001
    approval: str,
    inside: bool,  # noqa: FBT001
) -> OutsideAddress:
    # A domain that became the organisation's own has no gateways any more.
    if host is None or inside:
        return OutsideAddress(verified, suspended=suspended)
    server = Server(host, port, Security(security))
    gateway = Gateway(server, UUID(credential_id), works, wiped, Approval(approval))
    return OutsideAddress(verified, gateway, suspended)


def _settings(applied: Iterable[AppliedRow]) -> AppliedSettings:
    """From the rows of the topmost unit down to those of the account's own."""
    guardrails: list[Decided] = []
    nearest: dict[str, Decided] = {setting: ("", 0, DEFAULTS[setting]) for setting in Setting}
    for setting, unit, version, value in applied:
        if setting == Setting.GATEWAY_GUARDRAILS:
            guardrails.append((unit, version, value))
        else:
            nearest[setting] = (unit, version, value)
    deciding_unit, version, gateway = nearest[Setting.PER_USER_OUTBOUND_GATEWAY]
    outbound_unit, _version, outbound = nearest[Setting.OUTBOUND_GATEWAY]
    _unit, _version, failure = nearest[Setting.GATEWAY_FAILURE]
    server, _credential = relay()
    return AppliedSettings(
        gateways_allowed=gateway["allowed"],
        deciding_unit=deciding_unit,
        version=version,
        relay=server,
        on_failure=GatewayFailure(failure["choice"]),
        guardrails=merge(guardrails),
        outbound=outbound_gateway(outbound_unit, outbound),
    )
