"""Clock times and durations as every page writes them, in the installation's time zone."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

register = template.Library()


@register.filter("clock")
def clock_time(moment: datetime) -> str:
    """`10:42` for today, `24 Nov 2026, 10:42` for other days."""
    return _with_date(moment, "H:i")


@register.filter
def clock_seconds(moment: datetime) -> str:
    """The same with seconds, where things follow each other fast."""
    return _with_date(moment, "H:i:s")


@register.filter
def duration(span: timedelta) -> str:
    """`41 s`, `34 min` or `5 h`, rounded down."""
    seconds = int(span.total_seconds())
    if seconds < 120:
        return _("%(count)d\u00a0s") % {"count": seconds}
    if seconds < 7200:
        return _("%(count)d\u00a0min") % {"count": seconds // 60}
    return _("%(count)d\u00a0h") % {"count": seconds // 3600}


def _with_date(moment: datetime, clock: str) -> str:
    local = timezone.localtime(moment)
    if local.date() == timezone.localdate():
        return date_format(local, clock)
    return date_format(local, f"j\u00a0M\u00a0Y, {clock}")
