"""A person's send-as addresses: listing, adding, changing, removing; the person's own business.

Nobody else may change them, whatever his role: each service raises PermissionDenied then.
"""

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, NewType

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.address_words import address_refusal
from accounts.models import User
from accounts.models.directory import in_own_domains
from accounts.services.audit import Actor, record_event
from accounts.services.people import own_addresses
from accounts.services.rights import demand_owner
from policies.models import Setting
from policies.services import applied_value
from sendas.credentials import Binding, CredentialError, Sealed, seal, unseal
from sendas.models import Approval, OwnershipProof, ReplyFrom, ReplySetting, SendAs, SmtpMsa
from sendas.services.connection import GatewaySettings, check_connection
from sendas.services.events import record_address_event
from sendas.services.guardrails import check_guardrails, guardrails_of
from sendas.services.mail_domains import note_domain
from smtp.address import AddressError, normalise_address

# HTML as sendas.services.signatures has cleaned it: nothing else may be kept.
Signature = NewType("Signature", str)


class ListedAddress(NamedTuple):
    """A line of "Send mail as": an own address, or one with a row. `row` may be None."""

    address: str
    display_name: str
    is_primary: bool
    is_own: bool
    is_default: bool
    row: SendAs | None

    @property
    def is_pending(self) -> bool:
        """Whether its owner still has to prove it; an own address needs no proof."""
        return self._of_outside(lambda row: row.is_pending)

    @property
    def is_asked_again(self) -> bool:
        """Whether it works, and has to be proved once more by `row.proof_due_at`."""
        return self._of_outside(lambda row: row.is_asked_again and not row.is_suspended)

    @property
    def is_suspended(self) -> bool:
        """Whether that time is over: mail from it is refused until it is proved."""
        return self._of_outside(lambda row: row.is_suspended)

    @property
    def wants_proof(self) -> bool:
        """Whether a code for it is worth anything."""
        return self._of_outside(lambda row: row.wants_proof)

    def _of_outside(self, holds: Callable[[SendAs], bool]) -> bool:
        """What a row says of proofs is said of outside addresses only."""
        return not self.is_own and self.row is not None and holds(self.row)

    @property
    def proof(self) -> OwnershipProof | None:
        """The newest mail with link and code, while one of the two can be used."""
        newest = next(iter(self.row.proofs.all()), None) if self.row else None
        return newest if newest and newest.takes_link else None


class Details(NamedTuple):
    """What a person chooses for an address besides its server."""

    display_name: str
    reply_to_address: str = ""
    treat_as_alias: bool = True
    signature: Signature = Signature("")


def list_addresses(user: User) -> list[ListedAddress]:
    """Primary first, own aliases, then outside addresses in the order they were added."""
    kept = user.send_as.select_related("smtp_msa").prefetch_related("proofs")
    rows = {row.send_as_email: row for row in kept}
    own = own_addresses(user)
    outside = [
        address for address, row in rows.items() if address not in own and row.verification_status
    ]
    chosen = next((a for a in (*own, *outside) if a in rows and rows[a].is_default), own[0])
    return [
        ListedAddress(
            address=address,
            display_name=rows[address].display_name if address in rows else user.name,
            is_primary=address == user.primary_address,
            is_own=address in own,
            is_default=address == chosen,
            row=rows.get(address),
        )
        for address in (*own, *outside)
    ]


def clean_new_address(user: User, address: str) -> str:
    """The address as it is kept. Raise ValidationError where it can't be added."""
    try:
        address = normalise_address(address)
    except AddressError as error:
        raise ValidationError(address_refusal(error)) from error
    if address in own_addresses(user):
        raise ValidationError(_("%(address)s is yours already.") % {"address": address})
    outside = user.send_as.exclude(verification_status="")
    if outside.filter(send_as_email=address).exists():
        raise ValidationError(_("%(address)s stands in your list already.") % {"address": address})
    limit = outside_limit(user)
    if outside.count() >= limit:
        raise ValidationError(_full_list(limit))
    return address


def outside_limit(user: User) -> int:
    """How many outside addresses the account's list may hold."""
    return guardrails_of(user).most_addresses


def _full_list(limit: int) -> str:
    if limit == 0:
        return _("Your administrator allows no outside addresses.")
    return _(
        "Your list may hold %(number)s outside addresses, and takes no more. Delete one first."
    ) % {"number": limit}


def may_have_gateway(user: User, address: str) -> bool:
    """Whether policy lets the account use an own server for `address`, as applied now."""
    applied = applied_value(user.unit.path, user.cohort, Setting.PER_USER_OUTBOUND_GATEWAY)
    return applied.allowed and not in_own_domains(address)


def add_address(
    *, actor: Actor, user: User, address: str, details: Details, gateway: GatewaySettings | None
) -> SendAs:
    """Add an address, still to be proved; a gateway is contacted and signed in to first.

    Raise ValidationError, or ConnectionTestError; nothing is kept then.
    """
    demand_owner(actor, user)
    address = clean_new_address(user, address)
    if gateway:
        _check_gateway(user, address, gateway)
    with transaction.atomic():
        _lock_list(user)
        clean_new_address(user, address)  # once more: the test took its time
        # A row without status belonged to an alias that is gone: it starts anew.
        user.send_as.filter(send_as_email=address, verification_status="").delete()
        send_as = SendAs.objects.create(
            user=user,
            send_as_email=address,
            verification_status=SendAs.VerificationStatus.PENDING,
            **details._asdict(),
        )
        note_domain(send_as.domain)
        if gateway:
            _keep_gateway(send_as, gateway)
        record_address_event(
            actor, "send_as_added", address, user, gateway=gateway.host if gateway else ""
        )
    return send_as


def change_details(*, actor: Actor, user: User, address: str, details: Details) -> SendAs:
    """Change name, reply-to and alias treatment of an address.

    Raise ValidationError where it does not stand in the person's list.
    """
    demand_owner(actor, user)
    with transaction.atomic():
        _lock_list(user)
        send_as, _created = SendAs.objects.update_or_create(
            user=user, send_as_email=_listed(user, address).address, defaults=details._asdict()
        )
        record_address_event(actor, "send_as_changed", address, user)
    return send_as


def set_gateway(*, actor: Actor, send_as: SendAs, gateway: GatewaySettings) -> None:
    """Give the address another server or credential, after a test of it.

    An empty password keeps the stored one, only while server, port, encryption and user name
    stay. Raise ValidationError or ConnectionTestError; the old gateway is kept then.
    """
    demand_owner(actor, send_as.user)
    gateway = _with_stored_password(send_as, gateway)
    _check_gateway(send_as.user, send_as.send_as_email, gateway)
    with transaction.atomic():
        _void_proofs(send_as)
        _keep_gateway(send_as, gateway)
        record_address_event(
            actor,
            "gateway_set",
            send_as.send_as_email,
            send_as.user,
            host=gateway.host,
            port=gateway.port,
        )


def remove_gateway(*, actor: Actor, send_as: SendAs) -> None:
    """Send the address's mail by our servers from now on; the stored password is wiped."""
    demand_owner(actor, send_as.user)
    with transaction.atomic():
        _void_proofs(send_as)
        removed, _by_model = SmtpMsa.objects.filter(send_as=send_as).delete()
        if removed:
            record_address_event(actor, "gateway_removed", send_as.send_as_email, send_as.user)


def make_default(*, actor: Actor, user: User, address: str) -> None:
    """Fill From with this address from now on; the default before it falls."""
    demand_owner(actor, user)
    with transaction.atomic():
        _lock_list(user)
        listed = _listed(user, address)
        if listed.is_pending or listed.is_suspended:
            raise ValidationError(
                _("%(address)s can become the default once it is verified.") % {"address": address}
            )
        user.send_as.filter(is_default=True).update(is_default=False)
        if not listed.is_primary:
            chosen: dict[str, Any] = {"is_default": True}
            if listed.row and listed.row.is_pending:
                # Its owner began to prove it, then it became an alias: that needs no proof.
                chosen["verification_status"] = SendAs.VerificationStatus.NOT_NEEDED
            SendAs.objects.update_or_create(
                user=user,
                send_as_email=listed.address,
                defaults=chosen,
                create_defaults={**chosen, "display_name": listed.display_name},
            )
        record_address_event(actor, "send_as_default", address, user)


def reply_from(user: User) -> ReplyFrom:
    """Which address an answer of the account is written from."""
    chosen = ReplySetting.objects.filter(user=user).first()
    return ReplyFrom(chosen.reply_from) if chosen else ReplyFrom.RECEIVED


def choose_reply_from(*, actor: Actor, user: User, choice: ReplyFrom) -> None:
    demand_owner(actor, user)
    with transaction.atomic():
        old = reply_from(user)
        ReplySetting.objects.update_or_create(user=user, defaults={"reply_from": choice})
        if choice != old:
            record_event(
                actor,
                "reply_from_chosen",
                user.primary_address,
                unit=user.unit,
                old=old,
                new=choice,
            )


def delete_address(*, actor: Actor, send_as: SendAs) -> None:
    """Remove an outside address with its server, credential and proofs."""
    demand_owner(actor, send_as.user)
    with transaction.atomic():
        _lock_list(send_as.user)
        row = SendAs.objects.select_for_update().filter(pk=send_as.pk).first()
        if row is None:
            return  # a second click
        record_address_event(actor, "send_as_deleted", send_as.send_as_email, send_as.user)
        row.delete()


def gateway_password(msa: SmtpMsa) -> str:
    """The password for the server. Raises CredentialError. Never log, show or return it."""
    return unseal(Sealed(msa.key_id, bytes(msa.ciphertext)), binding_of(msa))


def binding_of(msa: SmtpMsa) -> Binding:
    """What the stored password was written for, as the row says."""
    return _binding(msa.send_as_id, msa)


def _lock_list(user: User) -> None:
    """Let changes of one person's list follow each other; held until the transaction ends."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _listed(user: User, address: str) -> ListedAddress:
    for listed in list_addresses(user):
        if listed.address == address:
            return listed
    raise ValidationError(_("%(address)s is not in your list.") % {"address": address})


def _check_gateway(user: User, address: str, gateway: GatewaySettings) -> None:
    if in_own_domains(address):
        raise ValidationError(
            _("%(address)s lies inside the organisation's domains, so our servers carry its mail.")
            % {"address": address}
        )
    if not may_have_gateway(user, address):
        raise ValidationError(
            _("Own servers are off for your account. Your administrator can turn them on.")
        )
    guardrails = guardrails_of(user)
    check_guardrails(
        guardrails,
        address=address,
        host=gateway.host,
        port=gateway.port,
        security_mode=gateway.security_mode,
    )
    check_connection(user=user, address=address, gateway=gateway, least_tls=guardrails.least_tls)


def _with_stored_password(send_as: SendAs, gateway: GatewaySettings) -> GatewaySettings:
    if gateway.password:
        return gateway
    msa = SmtpMsa.objects.filter(send_as=send_as).first()
    if msa and not msa.has_password:
        raise ValidationError({"password": _("Type the password: the stored one was deleted.")})
    if msa is None or _binding(send_as.pk, msa) != _binding(send_as.pk, gateway):
        raise ValidationError(
            {"password": _("Type the password: the stored one belongs to another server or user.")}
        )
    try:
        return gateway._replace(password=gateway_password(msa))
    except CredentialError as error:
        raise ValidationError(
            {"password": _("Type the password again: the stored one can't be read any more.")}
        ) from error


def _void_proofs(send_as: SendAs) -> None:
    """A proof that is under way is for the settings it was asked with.

    Raise ValidationError where the address was deleted meanwhile.
    """
    row = SendAs.objects.select_for_update(no_key=True).filter(pk=send_as.pk).first()
    if row is None:
        raise ValidationError(
            _("%(address)s is not in your list.") % {"address": send_as.send_as_email}
        )
    if row.wants_proof:
        send_as.proofs.all().delete()


def _keep_gateway(send_as: SendAs, gateway: GatewaySettings) -> None:
    note_domain(send_as.domain, host=gateway.host)
    sealed = seal(gateway.password, _binding(send_as.pk, gateway))
    approval = _approval_of(send_as, gateway)
    SmtpMsa.objects.update_or_create(
        send_as=send_as,
        defaults={
            "host": gateway.host,
            "port": gateway.port,
            "security_mode": gateway.security_mode,
            "username": gateway.username,
            "credential_id": uuid.uuid4(),
            "key_id": sealed.key_id,
            "ciphertext": sealed.ciphertext,
            "signed_in_at": Now(),
            # What was said or is being tried of the password before says nothing of this one.
            "refused_at": None,
            "refusal": "",
            "claimed_until": None,
            "checked_at": None,
            "check_failure": "",
            "failing_since": None,
            "wiped_at": None,
            **approval,
        },
    )


def _approval_of(send_as: SendAs, gateway: GatewaySettings) -> dict[str, Any]:
    """Asked for a server that is new here; another password for the same one asks nobody."""
    kept = SmtpMsa.objects.filter(send_as=send_as).first()
    if kept and _binding(send_as.pk, kept) == _binding(send_as.pk, gateway):
        return {}
    is_needed = guardrails_of(send_as.user).needs_approval
    return {
        "approval": Approval.WAITING if is_needed else Approval.NOT_NEEDED,
        "approval_since": Now() if is_needed else None,
        "approval_reason": "",
    }


def _binding(send_as_id: int, server: SmtpMsa | GatewaySettings) -> Binding:
    return Binding(send_as_id, server.host, server.port, server.security_mode, server.username)
