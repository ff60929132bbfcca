"""The pages of somebody who sends mail: whose they are in the bench, and what stands on them."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import Actor
from delivery.models import Delivery, OutboxMessage
from sendas.models import MailDomain, SendAs, SmtpMsa

NEW_ADDRESS = "new@known0.example"
RECIPIENT = "claire@customer.example"
STATES = ("waiting", "held", "sent", "failed", "discarded")


def give_rows(user: User, count: int) -> None:
    """So many outside addresses, messages in the outbox and app passwords."""
    names = [f"known{number}.example" for number in range(count)]
    MailDomain.objects.bulk_create(
        (
            MailDomain(name=name, policy="reject", organisational_domain=name, answered_at=Now())
            for name in names
        ),
        ignore_conflicts=True,
    )
    _add_addresses(user, names)
    _add_messages(user, count)
    for number in range(min(count, 10)):
        create_app_password(actor=Actor(user), user=user, name=f"Program {number}")


def _add_addresses(user: User, domains: list[str]) -> None:
    """Every second one with a server, every tenth server's password refused."""
    added = SendAs.objects.bulk_create(
        SendAs(
            user=user, send_as_email=f"own@{domain}", display_name="Own name",
            verification_status=SendAs.VerificationStatus.ACCEPTED, verified_at=Now(),
        )
        for domain in domains
    )  # fmt: skip
    SmtpMsa.objects.bulk_create(
        SmtpMsa(
            send_as=send_as, host=f"smtp.{send_as.send_as_email.partition('@')[2]}", port=587,
            security_mode="starttls", username="own", key_id="none", ciphertext=b"none",
            refused_at=Now() if number % 5 == 4 else None,
        )
        for number, send_as in enumerate(added[::2])
    )  # fmt: skip


def _add_messages(user: User, count: int) -> None:
    stored = OutboxMessage.objects.bulk_create(
        OutboxMessage(
            source=OutboxMessage.Source.COMPOSE, account=user, size=2000,
            account_address=user.primary_address, from_address=user.primary_address,
            recipients=[RECIPIENT], message_id=f"<{number}@bench.example>",
            state=STATES[number % len(STATES)], attempts=1, last_reply="250 2.0.0 Kept",
            expires_at=Now() + timedelta(days=2),
        )
        for number in range(count)
    )  # fmt: skip
    Delivery.objects.bulk_create(
        Delivery(
            outbox_message=message, account=user, account_address=user.primary_address,
            route="gateway", server="smtp.known0.example:587", state="sent",
        )
        for message in stored
    )  # fmt: skip


def own_pages(client: Client, user: User) -> Iterator[tuple[str, str]]:
    """Name and URL of each."""
    typed = {"display_name": "New", "address": NEW_ADDRESS, "treat_as_alias": "on"}
    server = client.post(reverse("sendas:add"), typed).headers["Location"]
    with_server = SendAs.objects.filter(user=user, smtp_msa__isnull=False).latest("pk")
    yield "send mail as", reverse("sendas:list")
    yield "add an address", reverse("sendas:add")
    yield "server of a new address", server
    yield "edit an address", reverse("sendas:edit", args=[with_server.pk])
    yield "compose", reverse("delivery:compose")
    yield "outbox", reverse("delivery:outgoing")
    yield "app passwords", reverse("accounts:app_passwords")
