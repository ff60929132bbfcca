from typing import Any

from django import template

from console.access import running_changes
from console.rollout import Rollout, load_rollouts

register = template.Library()


@register.simple_tag(takes_context=True)
def running_rollout(context: dict[str, Any]) -> list[Rollout]:
    """The newest change that rolls out in the administrator's units, or nothing."""
    return load_rollouts(running_changes(context["request"])[:1])
