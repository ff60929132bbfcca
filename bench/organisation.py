"""Fills Outgate's database with the bench's people, as a process with Outgate's settings.

Input: {"people": [...], "ports": {domain: port of its server}}. Output: one line, the app passwords
by account. Everybody gets an outside address in each domain, verified, with a working gateway.
"""

import json
import sys

import django

django.setup()  # before the imports below: they need models (hence E402)

from django.db import transaction  # noqa: E402

from accounts.models import Domain, User  # noqa: E402
from accounts.services.app_passwords import create_app_password  # noqa: E402
from accounts.services.audit import SYSTEM  # noqa: E402
from accounts.services.directory import create_domain, create_unit  # noqa: E402
from accounts.services.people import create_user  # noqa: E402
from bench.people import DOMAIN, Person  # noqa: E402
from policies.models import AppliedPolicy, Setting  # noqa: E402
from sendas.credentials import Binding, seal  # noqa: E402
from sendas.models import SendAs, SmtpMsa  # noqa: E402


@transaction.atomic
def make_organisation(people: list[Person], ports: dict[str, int]) -> dict[str, str]:
    create_domain(actor=SYSTEM, name=DOMAIN, kind=Domain.Kind.PRIMARY)
    unit = create_unit(actor=SYSTEM, name=DOMAIN)
    users: dict[str, User] = {}
    for person in people:
        if person.account not in users:
            users[person.account] = create_user(
                actor=SYSTEM, primary_address=person.account, name="Bench", unit=unit
            )
        _add_address(users[person.account], person, ports[person.address.partition("@")[2]])
    for cohort in {user.cohort for user in users.values()}:
        AppliedPolicy.objects.create(
            cohort=cohort, unit=unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
            value={"allowed": True}, version=1,
        )  # fmt: skip
    return {
        account: create_app_password(actor=SYSTEM, user=user, name="Bench")[1]
        for account, user in users.items()
    }


def _add_address(user: User, person: Person, port: int) -> None:
    """What is left once an address has been added, tested and verified."""
    send_as = SendAs.objects.create(
        user=user,
        send_as_email=person.address,
        verification_status=SendAs.VerificationStatus.ACCEPTED,
    )
    server = Binding(send_as.pk, "localhost", port, "starttls", person.address)
    sealed = seal(person.password, server)
    SmtpMsa.objects.create(
        send_as=send_as, host=server.host, port=server.port, security_mode=server.security_mode,
        username=server.username, key_id=sealed.key_id, ciphertext=sealed.ciphertext,
    )  # fmt: skip


def main() -> None:
    wanted = json.load(sys.stdin)
    people = [Person(**each) for each in wanted["people"]]
    print(json.dumps(make_organisation(people, wanted["ports"])))


if __name__ == "__main__":
    main()
