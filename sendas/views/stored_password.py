"""Testing a stored password again that its server has refused."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.requests import SignedInRequest, actor_of
from sendas.models import SendAs
from sendas.services.addresses import may_have_gateway
from sendas.services.breaker import try_stored_password
from sendas.services.outcomes import ConnectionTestError


def is_in_doubt(send_as: SendAs) -> bool:
    """Whether there is a stored password to be tested again, and it may be."""
    return (
        hasattr(send_as, "smtp_msa")
        and send_as.smtp_msa.is_in_doubt
        and may_have_gateway(send_as.user, send_as.send_as_email)
    )


def test_stored(request: SignedInRequest, send_as: SendAs) -> None:
    host = send_as.smtp_msa.host
    try:
        try_stored_password(actor=actor_of(request), send_as=send_as)
    except ConnectionTestError as refusal:
        messages.error(request, refusal.text)
    except ValidationError as refusal:
        messages.error(request, refusal.messages[0])
    else:
        told = _("%s took the stored password. What waits for it leaves by itself.")
        messages.success(request, told % host)
