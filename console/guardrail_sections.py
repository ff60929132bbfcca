"""The cards of the guardrails page, one for each guardrail."""

from typing import NamedTuple

from django.forms.boundfield import BoundField
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.guardrail_forms import FIELDS, GuardrailsForm, choice_of, name_of
from policies.guardrails import Guardrail
from policies.words import guardrail_in_words, loosened_in_words


class Section(NamedTuple):
    """One guardrail as the page shows it: its card, and what holds while it is inherited.

    `loosened_text`: that what stands there is looser than what a unit above demands, or "".
    """

    guardrail: Guardrail
    text: str | Promise
    choice: BoundField | None
    fields: list[BoundField]
    is_own: bool
    inherited_from: str
    inherited_text: str
    loosened_text: str


TEXTS: dict[Guardrail, str | Promise] = {
    Guardrail.SERVERS: _(
        "Which SMTP servers may carry mail of an address. *.partner.example stands for every name "
        "below partner.example, not for that name itself. Without any name every server is allowed."
    ),
    Guardrail.DOMAINS: _(
        "Which addresses may have a server of their own. Others can still be added; our servers "
        "carry their mail."
    ),
    Guardrail.CONNECTION: _("How Outgate may connect to an own server."),
    Guardrail.ADDRESSES: _(
        "How many a person may add to the list. Those that are there already stay."
    ),
    Guardrail.RECIPIENTS: _(
        "How many recipients a person may write to, by whichever server. Left empty, the limits "
        "of this installation hold."
    ),
    Guardrail.APPROVAL: _(
        "Until a new server is approved, mail from its address leaves by our servers. Servers that "
        "are in use when this arrives go on without."
    ),
}


def sections_of(form: GuardrailsForm) -> list[Section]:
    is_typed = form.is_bound and form.is_valid()
    own = (form.value() or {}) if is_typed else form.kept.own
    loosened = loosened_in_words(own, form.kept.inherited)
    return [_section(form, guardrail, loosened.get(guardrail, "")) for guardrail in FIELDS]


def _section(form: GuardrailsForm, guardrail: Guardrail, loosened_text: str) -> Section:
    kept = form.kept
    return Section(
        guardrail=guardrail,
        text=TEXTS[guardrail],
        choice=None if kept.is_root else form[choice_of(guardrail)],
        fields=[form[name_of(guardrail, part)] for part in FIELDS[guardrail]],
        is_own=guardrail in kept.own,
        inherited_from=kept.inherited.decider(guardrail).unit,
        inherited_text=guardrail_in_words(guardrail, form.defaults[guardrail]),
        loosened_text=loosened_text,
    )
