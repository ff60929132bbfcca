"""The organisation's outbound gateway of a unit: where mail goes that no own server carries."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import OrgUnit, Privilege
from accounts.services.audit import Actor
from accounts.services.rights import demand_privilege
from policies.models import GatewayPolicy, PolicyChange, Setting
from policies.services import change_policy
from sendas.credentials import Binding, CredentialError, Sealed, seal, unseal
from sendas.models import SmartHostCredential
from sendas.services.connection import (
    TEST_SECONDS,
    TIMEOUTS,
    count_test,
    leads_to,
    run_within,
    submission_places,
)
from sendas.services.outcomes import ConnectionTestError, TestStep
from sendas.upstream import open_smart_host, smart_host_guard
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.target import Credential, Security, Server

SETTING = Setting.OUTBOUND_GATEWAY


class SmartHost(NamedTuple):
    """What an administrator types. Without a user name nobody signs in."""

    host: str
    port: int
    security_mode: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"SmartHost({self.host}:{self.port})"


def change_outbound_gateway(
    *,
    actor: Actor,
    unit: OrgUnit,
    smart_host: SmartHost | None,
    inherit: bool = False,
    based_on: int,
    reason: str = "",
    starts_at: datetime | None = None,
    seen_path: str | None = None,
) -> PolicyChange | None:
    """Name the server, None for the installation's relay; it is tried out before it is saved.

    An empty password keeps the stored one for the same server and user name. Raises as
    change_policy does, and ConnectionTestError; nothing is kept then.
    """
    demand_privilege(actor, unit, Privilege.MAIL_SETTINGS)
    kept = stored_sign_in(unit, smart_host) if smart_host else None
    if smart_host:
        credential = _credential(smart_host, kept)
        _check(actor, smart_host, credential)
    with transaction.atomic():
        value: dict[str, Any] | None = {"server": None}
        if inherit:
            value = None
        elif smart_host:
            value = {"server": _server_value(smart_host, kept)}
        return change_policy(
            actor=actor,
            unit=unit,
            setting=SETTING,
            value=value,
            based_on=based_on,
            reason=reason,
            starts_at=starts_at,
            seen_path=seen_path,
        )


def stored_sign_in(unit: OrgUnit, smart_host: SmartHost) -> SmartHostCredential | None:
    """The kept credential, where it was typed for just this server and user name."""
    policy = GatewayPolicy.objects.filter(unit=unit, setting=SETTING).first()
    server = (policy.value or {}).get("server") if policy else None
    if not server or not server["credential_id"]:
        return None
    return SmartHostCredential.objects.filter(
        pk=server["credential_id"],
        host=smart_host.host,
        port=smart_host.port,
        security_mode=smart_host.security_mode,
        username=smart_host.username,
    ).first()


def smart_host_sign_in(credential_id: UUID) -> Credential:
    """User name and password. Raises CredentialError, and SmtpFailure where it was wiped."""
    row = SmartHostCredential.objects.filter(pk=credential_id).first()
    if row is None:
        raise CredentialError("The sign-in of this server is gone.")
    if not row.has_password:
        raise SmtpFailure(FailureKind.AUTH_REFUSED, Step.AUTH, permanent=True)
    return Credential(row.username, sign_in_password(row))


def sign_in_password(row: SmartHostCredential) -> str:
    """Raises CredentialError. Never log, show or return it."""
    return unseal(Sealed(row.key_id, bytes(row.ciphertext)), binding_of_sign_in(row))


def binding_of_sign_in(row: SmartHostCredential) -> Binding:
    return Binding(row.pk, row.host, row.port, row.security_mode, row.username)


def _credential(smart_host: SmartHost, kept: SmartHostCredential | None) -> Credential | None:
    if not smart_host.username:
        return None
    if smart_host.password:
        return Credential(smart_host.username, smart_host.password)
    if kept is None:
        raise ValidationError(
            {"password": _("Type the password: the stored one belongs to another server or user.")}
        )
    try:
        return Credential(kept.username, sign_in_password(kept))
    except CredentialError as error:
        raise ValidationError(
            {"password": _("Type the password again: the stored one can't be read any more.")}
        ) from error


def _server_value(smart_host: SmartHost, kept: SmartHostCredential | None) -> dict[str, Any]:
    return {
        "host": smart_host.host,
        "port": smart_host.port,
        "security_mode": smart_host.security_mode,
        "credential_id": _keep_sign_in(smart_host, kept),
    }


def _keep_sign_in(smart_host: SmartHost, kept: SmartHostCredential | None) -> str | None:
    if not smart_host.username:
        return None
    if kept and not smart_host.password:
        return str(kept.pk)
    row = SmartHostCredential(
        host=smart_host.host,
        port=smart_host.port,
        security_mode=smart_host.security_mode,
        username=smart_host.username,
    )
    row.key_id, row.ciphertext = seal(smart_host.password, binding_of_sign_in(row))
    row.save()
    return str(row.pk)


# --- the test -----------------------------------------------------------------------------------

OUTCOMES = {
    FailureKind.NO_PUBLIC_ADDRESS: (
        "host",
        gettext_lazy(
            "%(host)s has no address that may be used. Check its spelling; networks inside the "
            "organisation are opened by whoever runs Outgate (OUTGATE_SMART_HOST_NETWORKS)."
        ),
    ),
    FailureKind.TLS_NOT_OFFERED: (
        "security_mode",
        gettext_lazy("%(host)s offers no encryption on port %(port)s. Choose another one."),
    ),
    FailureKind.TLS_VERSION: (
        "host",
        gettext_lazy("%(host)s only speaks an outdated kind of TLS: it needs TLS 1.2 or later."),
    ),
    FailureKind.CERTIFICATE_NAME: (
        "host",
        gettext_lazy(
            "The certificate of this server is for another name than %(host)s. Use that name."
        ),
    ),
    FailureKind.CERTIFICATE_EXPIRED: (
        "host",
        gettext_lazy("The certificate of %(host)s has expired. Have it renewed first."),
    ),
    FailureKind.CERTIFICATE_UNKNOWN: (
        "host",
        gettext_lazy("The certificate of %(host)s comes from an authority that is not known here."),
    ),
    FailureKind.AUTH_NOT_OFFERED: (
        "username",
        gettext_lazy("%(host)s lets nobody sign in on port %(port)s. Leave out the user name."),
    ),
    FailureKind.AUTH_REFUSED: (
        "password",
        gettext_lazy("%(host)s does not accept this user name and password. Type them again."),
    ),
}
NO_ANSWER = (
    "host",
    gettext_lazy(
        "No mail server answers like that at %(host)s, port %(port)s. Compare server, port and "
        "encryption, and whether it is on and lets this installation in."
    ),
)
NO_MAIL = (
    "host",
    gettext_lazy("%(host)s takes no mail from %(address)s. Let it relay for this installation."),
)
OURSELVES = (
    "host",
    gettext_lazy("That is Outgate itself: mail would go in a circle. Name the server behind it."),
)
QUOTED = {FailureKind.AUTH_REFUSED}


def _check(actor: Actor, smart_host: SmartHost, credential: Credential | None) -> None:
    """Connect, sign in, ask whether mail from the administrator's address is taken."""
    if actor.user is None:
        raise ValueError("Who names a server is asked for his address by it")
    count_test(actor.user)
    address = actor.user.primary_address
    try:
        run_within(TEST_SECONDS, _try_out(smart_host, credential, address))
    except TimeoutError:
        raise _told(NO_ANSWER, smart_host, address) from None
    except SmtpFailure as failure:
        raise _explain(failure, smart_host, address) from None


async def _try_out(smart_host: SmartHost, credential: Credential | None, address: str) -> None:
    server = Server(smart_host.host, smart_host.port, Security(smart_host.security_mode))
    if await leads_to(server, smart_host_guard(), submission_places()):
        raise _told(OURSELVES, smart_host, address)
    connection = await open_smart_host(server, credential, timeouts=TIMEOUTS)
    try:
        await connection.try_sender(address)
        await connection.quit()
    finally:
        connection.abort()


def _explain(failure: SmtpFailure, smart_host: SmartHost, address: str) -> ConnectionTestError:
    if failure.step is Step.MAIL:
        return _told(NO_MAIL, smart_host, address, str(failure.reply or ""))
    quoted = str(failure.reply or "") if failure.kind in QUOTED else ""
    return _told(OUTCOMES.get(failure.kind, NO_ANSWER), smart_host, address, quoted)


def _told(
    outcome: tuple[str, Any], smart_host: SmartHost, address: str, reply: str = ""
) -> ConnectionTestError:
    field, text = outcome
    about = {"host": smart_host.host, "port": smart_host.port, "address": address}
    return ConnectionTestError(TestStep.NOT_TRIED, field, str(text) % about, reply=reply)
