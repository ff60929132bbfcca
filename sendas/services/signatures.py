"""Signatures: HTML that somebody typed or a program sent, with nothing in it that could act.

They go below what is written on the compose page; Outgate changes no message that is handed in.
"""

import html
import re

import nh3
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from sendas.services.addresses import Signature

LONGEST = 10_000  # characters, as kept
TAGS = {
    "a", "b", "blockquote", "br", "code", "div", "em", "hr", "i", "img", "li", "ol", "p", "s",
    "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tr", "u", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "img": {"src", "alt", "width", "height"}}
# No data: and no javascript:. A picture on the web is loaded by the recipient, if he lets it.
SCHEMES = {"http", "https", "mailto", "tel"}
_LINE_END = re.compile(r"<br>|<hr>|</(?:blockquote|div|li|p|tr)>")
_TAG = re.compile(r"<[^>]*>")


def clean_markup(markup: str, tags: set[str] = TAGS) -> str:
    """Leave out scripts, styles, forms: all but formatting. Cleaning again changes nothing."""
    return nh3.clean(
        markup, tags=tags, attributes=ATTRIBUTES, url_schemes=SCHEMES, link_rel=None
    ).strip()


def clean_signature(markup: str) -> Signature:
    """As clean_markup. Raise ValidationError where it is too long."""
    cleaned = clean_markup(markup)
    if len(cleaned) > LONGEST:
        raise ValidationError(
            _("A signature has at most %(number)s characters, with its formatting.")
            % {"number": LONGEST}
        )
    return Signature(cleaned)


def signature_from_box(typed: str) -> Signature:
    """What was typed into a box: HTML, or text whose lines stay as they are."""
    lines = typed.replace("\r\n", "\n").strip()
    if nh3.is_html(lines):
        return clean_signature(lines)
    return clean_signature(html.escape(lines, quote=False).replace("\n", "<br>"))


def signature_for_box(signature: str) -> str:
    """The other way: as text where nothing but line breaks is in it."""
    if set(_TAG.findall(signature)) <= {"<br>"}:
        return html.unescape(signature.replace("<br>", "\n"))
    return signature


def signature_as_text(signature: str) -> str:
    """What is left of it without formatting, in lines."""
    lines = html.unescape(_TAG.sub("", _LINE_END.sub("\n", signature))).splitlines()
    return "\n".join(line.strip() for line in lines).strip()
