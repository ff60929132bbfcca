"""All that a decision about an account's mail is made of, in one statement.

The pages ask Django's models for the same (delivery/services.py); a test holds the two together.
"""

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
from smtp.client import Security, Server

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
       applied.unit, applied.value, applied.version, failure.choice, outbound.unit, outbound.value,
       (SELECT json_agg(json_build_array(decider.name, policy.version, policy.value)
                        ORDER BY decider.path)
          FROM policies_appliedpolicy policy
          JOIN accounts_orgunit decider ON decider.id = policy.unit_id
         WHERE policy.cohort = account.cohort AND decider.path = ANY(line.paths)
           AND policy.setting = '{Setting.GATEWAY_GUARDRAILS}' AND policy.value IS NOT NULL)
  FROM accounts_apppassword app_password
  JOIN accounts_user account ON account.id = app_password.user_id
  JOIN accounts_orgunit unit ON unit.id = account.unit_id
 CROSS JOIN LATERAL (
       SELECT ARRAY(SELECT left(unit.path, depth * {OrgUnit.steplen})
                      FROM generate_series(1, length(unit.path) / {OrgUnit.steplen}) depth) AS paths
       ) line
  LEFT JOIN LATERAL (
       SELECT decider.name AS unit, policy.value, policy.version
         FROM policies_appliedpolicy policy
         JOIN accounts_orgunit decider ON decider.id = policy.unit_id
        WHERE policy.cohort = account.cohort AND decider.path = ANY(line.paths)
          AND policy.setting = '{Setting.PER_USER_OUTBOUND_GATEWAY}' AND policy.value IS NOT NULL
        ORDER BY decider.path DESC LIMIT 1
       ) applied ON true
  LEFT JOIN LATERAL (
       SELECT policy.value ->> 'choice' AS choice
         FROM policies_appliedpolicy policy
         JOIN accounts_orgunit decider ON decider.id = policy.unit_id
        WHERE policy.cohort = account.cohort AND decider.path = ANY(line.paths)
          AND policy.setting = '{Setting.GATEWAY_FAILURE}' AND policy.value IS NOT NULL
        ORDER BY decider.path DESC LIMIT 1
       ) failure ON true
  LEFT JOIN LATERAL (
       SELECT decider.name AS unit, policy.value
         FROM policies_appliedpolicy policy
         JOIN accounts_orgunit decider ON decider.id = policy.unit_id
        WHERE policy.cohort = account.cohort AND decider.path = ANY(line.paths)
          AND policy.setting = '{Setting.OUTBOUND_GATEWAY}' AND policy.value IS NOT NULL
        ORDER BY decider.path DESC LIMIT 1
       ) outbound ON true
 WHERE app_password.id = $1 AND app_password.revoked_at IS NULL
"""  # noqa: S608  (only our own constants stand in it)


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
    [(primary, suspended, cohort, units, aliases, outside, *applied)] = rows
    account = AccountSnapshot(
        primary_address=primary,
        own_aliases=frozenset(aliases) - {primary},
        outside={address: _outside(*rest) for address, *rest in outside or ()},
        suspended=suspended,
        unit=" › ".join(units),
        cohort=cohort,
    )
    return Snapshot(account, _settings(*applied))


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


def _settings(
    unit: str | None,
    value: dict[str, Any] | None,
    version: int | None,
    choice: str | None,
    outbound_unit: str | None,
    outbound: dict[str, Any] | None,
    guardrails: list[tuple[str, int, dict[str, Any]]] | None,
) -> AppliedSettings:
    value = value or DEFAULTS[Setting.PER_USER_OUTBOUND_GATEWAY]
    choice = choice or DEFAULTS[Setting.GATEWAY_FAILURE]["choice"]
    server, _credential = relay()
    return AppliedSettings(
        gateways_allowed=bool(value["allowed"]),
        deciding_unit=unit or "",
        version=version or 0,
        relay=server,
        on_failure=GatewayFailure(choice),
        guardrails=merge(guardrails or ()),
        outbound=outbound_gateway(outbound_unit or "", outbound) if outbound else None,
    )
