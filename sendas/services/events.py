"""What happens to people's addresses, in the audit."""

from typing import Any

from accounts.models import User
from accounts.services.audit import Actor, record_event


def record_address_event(actor: Actor, name: str, address: str, user: User, **details: Any) -> None:
    """With the account that the address is of, for those who read the reports of its unit."""
    record_event(actor, name, address, unit=user.unit, account=user.primary_address, **details)
