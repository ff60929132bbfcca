"""What is wrong with an address, in the reader's language: `smtp` itself knows English only."""

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from smtp.address import AddressError

# What normalise_address and parse_from say; a test holds them together.
WORDS = (
    _("An address has the form name@example.com"),
    _("The part before the @ holds characters that cannot stand there"),
    _("The part before the @ could be taken for another address"),
    _("The domain holds characters that cannot stand in one"),
    _("The part behind the @ is not a domain such as example.com"),
    _("The part between [ and ] is not an IP address"),
    _("The address is too long"),
    _("The address has to have the form name@example.com"),
    _("It holds control characters"),
    _("It holds more than one address, or text behind the address"),
    _('A name with an @ in it has to stand between quotes, as in "name@example.com"'),
    _("One address is allowed. A name with %(character)s in it has to stand between quotes"),
    _("A parenthesis is not closed"),
    _("An encoded word (=?...?=) cannot stand in an address"),
)


def address_refusal(error: AddressError) -> str:
    words = gettext(error.words)
    return words % error.values if error.values else words
