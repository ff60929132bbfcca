"""Refusals for whoever writes on a page: mail programs hear the same in English."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from delivery.limits import Excess
from delivery.models import LimitReport
from delivery.routing import OutsideAddress, Refusal, Rule

WORDS: dict[str, str] = {
    Rule.SUSPENDED: gettext_noop("This account is suspended. Ask your administrator."),
    Rule.NOT_OWNED: gettext_noop(
        "%(address)s is not one of your addresses. Add it under Send mail as, or choose another "
        "From."
    ),
    Rule.UNVERIFIED: gettext_noop(
        "%(address)s is not verified yet. Type the code that was sent to it under Send mail as."
    ),
    Rule.ADDRESS_SUSPENDED: gettext_noop(
        "%(address)s is suspended, for it was not proved again in time. Nothing was sent. Have a "
        "code sent to it under Send mail as, and type it there."
    ),
    Rule.GATEWAY_WIPED: gettext_noop(
        "Your administrator had the stored password for %(host)s deleted. Nothing was sent. Enter "
        "the password again under Send mail as."
    ),
    Rule.GATEWAY_BROKEN: gettext_noop(
        "%(host)s no longer accepts the stored password for %(address)s. Nothing was sent. Enter "
        "the new password under Send mail as."
    ),
}


def refusal_words(refusal: Refusal, address: str, outside: OutsideAddress | None) -> str:
    host = outside.gateway.server.host if outside and outside.gateway else ""
    return _(WORDS[refusal.explanation.rule]) % {"address": address, "host": host}


def excess_words(excess: Excess) -> str:
    values = {"limit": excess.limit, "used": excess.used, "count": excess.recipients}
    if excess.window == LimitReport.Window.HOUR:
        what_is_so = _(
            "Your account may write to %(limit)d recipients an hour: %(used)d are used up, and "
            "this message has %(count)d. Nothing was sent."
        )
        what_to_do = _("Send it again in an hour, or ask your administrator.")
    else:
        what_is_so = _(
            "Your account may write to %(limit)d recipients a day: %(used)d are used up, and this "
            "message has %(count)d. Nothing was sent."
        )
        what_to_do = _("Send it again tomorrow, or ask your administrator.")
    if excess.recipients > excess.limit:
        what_to_do = _("Write to at most %(limit)d at a time.")
    return f"{what_is_so} {what_to_do}" % values
