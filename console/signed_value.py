"""A setting's value as a page carries it that has counted what it changes: signed, as it is not
saved, and the form that it came from need not come again.
"""

from typing import cast

from django.core import signing
from django.core.exceptions import SuspiciousOperation

from console.reached import Value


def signed_value(setting: str, value: Value | None) -> str:
    return signing.dumps(value, salt=_salt(setting), compress=True)


def shown_value(setting: str, signed: str) -> Value | None:
    """The value out of signed_value; raises SuspiciousOperation for what no page of ours showed."""
    try:
        return cast("Value | None", signing.loads(signed, salt=_salt(setting)))
    except signing.BadSignature as error:
        raise SuspiciousOperation("No value that was shown here") from error


def _salt(setting: str) -> str:
    return f"what-changes:{setting}"
