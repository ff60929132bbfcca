"""What servers mean when they refuse a sign-in: their many words mapped to ours, here and once."""

import re
from enum import StrEnum

from smtp.reply import Reply


class Refusal(StrEnum):
    """What its owner can do about it tells them apart."""

    WRONG_PASSWORD = "wrong password"  # noqa: S105 a kind of refusal
    APP_PASSWORD = "app password needed"  # noqa: S105
    PASSWORDS_OFF = "passwords switched off"
    PUT_OFF = "put off"


_APP_PASSWORD = re.compile(r"\b(app|application)([ -]specific)?[ -]password", re.IGNORECASE)
# Microsoft's "SmtpClientAuthentication is disabled" and "basic authentication is disabled". Its
# 5.7.139 alone also stands for a wrong password.
_PASSWORDS_OFF = re.compile(r"authentication is disabled", re.IGNORECASE)


def judge_refusal(reply: Reply) -> Refusal:
    """The meaning of a reply other than 235 to AUTH."""
    if reply.is_transient:
        return Refusal.PUT_OFF
    # Google's. By RFC 4954 it says that the mechanism is too weak, which a password can be, too.
    if (reply.code, reply.enhanced) == (534, "5.7.9") or _APP_PASSWORD.search(reply.text):
        return Refusal.APP_PASSWORD
    if _PASSWORDS_OFF.search(reply.text):
        return Refusal.PASSWORDS_OFF
    return Refusal.WRONG_PASSWORD
