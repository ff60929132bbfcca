"""What is wrong with an address, in the reader's language: `smtp` itself knows English only."""

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from smtp.address import AddressError

# What normalise_address says; a test holds them together.
WORDS = (
    _("An address has the form name@example.com"),
    _("The part before the @ holds characters that cannot stand there"),
    _("The part before the @ could be taken for another address"),
    _("The domain holds characters that cannot stand in one"),
    _("The part behind the @ is not a domain such as example.com"),
    _("The part between [ and ] is not an IP address"),
    _("The address is too long"),
)


def address_refusal(error: AddressError) -> str:
    return gettext(str(error))
