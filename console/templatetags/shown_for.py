from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def shown_for(context: dict[str, Any], states: str) -> SafeString:
    """Attributes of an element that shows only while the form stands at one of `states`.

    The server hides it by the form as it is sent; static/gateway.js keeps that up to date.
    """
    hidden = "" if context["state"] in states.split() else " hidden"
    return format_html('data-shown-for="{}"{}', states, hidden)
