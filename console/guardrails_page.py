"""Guardrails of one unit: which own servers, how many addresses and recipients, and approval."""

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from console.guardrail_forms import GuardrailsForm
from console.guardrail_sections import sections_of
from console.unit_page import UnitPage
from policies.models import Setting

guardrails_page = UnitPage(
    setting=Setting.GATEWAY_GUARDRAILS,
    view_name="console:guardrails",
    template="console/guardrails.html",
    title=_("Guardrails"),
    legend=_("own guardrails"),
    own_below=ngettext_lazy(
        "%d unit below has guardrails of its own", "%d units below have guardrails of their own"
    ),
    changed=_("%(unit)s: guardrails changed"),
    form=GuardrailsForm,
    more=lambda form: {"sections": sections_of(form)},
)
