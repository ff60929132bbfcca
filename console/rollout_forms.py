from django import forms
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from console.access import administered_changes
from console.filtering import ListFilter
from policies.models import PolicyChange, RolloutWave, Setting

# As Rollout.state names them.
STATES = [
    ("scheduled", _("Scheduled")),
    ("rolling", _("Rolling out")),
    ("paused", _("Paused")),
    ("complete", _("Complete")),
    ("replaced", _("Replaced")),
    ("undone", _("Undone")),
    ("cancelled", _("Cancelled")),
]


class RolloutFilter(ListFilter):
    """Which changes."""

    setting = forms.ChoiceField(
        label=_("Setting"), choices=[("", _("All settings")), *Setting.choices], required=False
    )
    state = forms.ChoiceField(
        label=_("State"), choices=[("", _("All states")), *STATES], required=False
    )
    author = forms.CharField(label=_("Saved by"), max_length=254, required=False)

    def changes(self) -> QuerySet[PolicyChange]:
        """What fits, newest first, of what one administers; nothing while refused."""
        if not self.is_valid():
            return PolicyChange.objects.none()
        data = self.cleaned_data
        changes = self.at_and_below_unit(administered_changes(self.request))
        if data["setting"]:
            changes = changes.filter(setting=data["setting"])
        if data["state"]:
            changes = changes.filter(_in_state(data["state"]))
        if data["author"]:
            changes = changes.filter(_saved_by(data["author"].strip()))
        return changes.order_by("-id")


def _saved_by(text: str) -> Q:
    """By name, as the list shows it, or by the beginning of the address."""
    named = User.objects.filter(name__icontains=text)
    return Q(actor_address__startswith=text.lower()) | Q(actor_id__in=named.values("pk"))


def _in_state(state: str) -> Q:
    """What Rollout.state answers for one change, as a condition for all."""
    waves = RolloutWave.objects.filter(change=OuterRef("pk"))
    still_open = waves.filter(applied_at=None, superseded_at=None)
    undone = Q(Exists(PolicyChange.objects.filter(undoes=OuterRef("pk"))))
    replaced = Q(Exists(waves.exclude(superseded_at=None)))
    rolls = Q(Exists(still_open))
    paused = Q(Exists(still_open.exclude(paused_at=None)))
    started = ~undone & Q(version__isnull=False)
    states = {
        "undone": undone,
        "scheduled": ~undone & Q(version=None, cancelled_at=None),
        "cancelled": ~undone & Q(version=None, cancelled_at__isnull=False),
        "replaced": started & replaced,
        "complete": started & ~replaced & ~rolls,
        "paused": started & ~replaced & paused,
        "rolling": started & ~replaced & rolls & ~paused,
    }
    return states[state]
