"""The hidden field by which a form that comes too late is shown to its own account only."""

from typing import Any

from django import template

from accounts.late_forms import stamp

register = template.Library()


@register.simple_tag(takes_context=True)
def typed_by(context: dict[str, Any]) -> str:
    return stamp(context["request"])
