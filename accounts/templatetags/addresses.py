import re

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def breakable(address: str) -> SafeString:
    """An address that breaks behind its @ and before a dot, where it is longer than the line."""
    pieces = re.split(r"(?<=@)|(?=\.)", address)
    return format_html_join("", "{}<wbr>", ((piece,) for piece in pieces))
