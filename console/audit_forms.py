from datetime import date, datetime, time, timedelta

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import AuditEvent
from console.access import AdminRequest, administered_units
from console.audit_words import EVENTS
from console.filtering import ListFilter


def event_choices() -> list[tuple[str, object]]:
    """By their words, for people read those."""
    named = sorted(EVENTS.items(), key=lambda each: str(each[1]))
    return [("", _("All events")), *named]


class AuditFilter(ListFilter):
    """Which events."""

    field_order = ("actor", "event", "unit", "since", "until")

    actor = forms.CharField(label=_("Who"), max_length=254, required=False)
    event = forms.ChoiceField(label=_("Event"), choices=event_choices, required=False)
    since = forms.DateField(
        label=pgettext_lazy("first day", "From"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    until = forms.DateField(
        label=pgettext_lazy("last day", "To"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def clean(self) -> None:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and until < since:
            self.add_error("until", _("The last day lies before the first one."))

    def events(self) -> QuerySet[AuditEvent]:
        """What fits, newest first, of what the administrator may see; nothing while refused."""
        if not self.is_valid():
            return AuditEvent.objects.none()
        data = self.cleaned_data
        events = self.at_and_below_unit(_reported_to(self.request))
        if data["actor"]:
            events = events.filter(actor_address__startswith=data["actor"].strip().lower())
        if data["event"]:
            events = events.filter(name=data["event"])
        if data["since"]:
            events = events.filter(at__gte=_start_of(data["since"]))
        if data["until"]:
            events = events.filter(at__lt=_start_of(data["until"] + timedelta(days=1)))
        return events.order_by("-id")


def _reported_to(request: AdminRequest) -> QuerySet[AuditEvent]:
    """All events for super administrators; for others those of units they have *reports* of."""
    if request.rights.is_super:
        return AuditEvent.objects.all()
    return AuditEvent.objects.filter(unit_id__in=administered_units(request).values("pk"))


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
