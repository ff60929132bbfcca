"""Clock times and durations as every page writes them, in the installation's time zone."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format, get_format
from django.utils.translation import gettext as _

register = template.Library()


@register.filter("clock")
def clock_time(moment: datetime) -> str:
    """`10:42` for today, `24 Nov 2026, 10:42` for other days."""
    return _with_date(moment, "H:i", "SHORT_DATETIME_FORMAT")


@register.filter
def clock_seconds(moment: datetime) -> str:
    """The same with seconds, where things follow each other fast."""
    return _with_date(moment, "H:i:s", "DATETIME_FORMAT")


@register.filter
def duration(span: timedelta) -> str:
    """`41 s`, `34 min` or `5 h`, rounded down."""
    # The spaces below do not break; xgettext would take an escape in them literally.
    seconds = int(span.total_seconds())
    if seconds < 120:
        return _("%(count)d s") % {"count": seconds}
    if seconds < 7200:
        return _("%(count)d min") % {"count": seconds // 60}
    return _("%(count)d h") % {"count": seconds // 3600}


@register.filter
def date_and_zone(moment: datetime) -> str:
    """`24 Nov 2026, 10:42 UTC`, for what is read on another day or in another place."""
    return date_format(timezone.localtime(moment), f"{get_format('SHORT_DATETIME_FORMAT')} e")


def _with_date(moment: datetime, of_today: str, of_other_days: str) -> str:
    local = timezone.localtime(moment)
    is_today = local.date() == timezone.localdate()
    return date_format(local, of_today if is_today else of_other_days)
