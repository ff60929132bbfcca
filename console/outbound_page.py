"""The outbound gateway of one unit: where its mail goes that no own server carries."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from console.outbound_forms import OutboundForm
from console.unit_page import UnitPage
from policies.models import Setting
from sendas.services.outcomes import ConnectionTestError

outbound_page = UnitPage(
    setting=Setting.OUTBOUND_GATEWAY,
    view_name="console:outbound",
    template="console/outbound.html",
    title=_("Outbound gateway"),
    legend=_("own outbound gateway"),
    own_below=ngettext_lazy(
        "%d unit below has one of its own", "%d units below have one of their own"
    ),
    changed=_("%(unit)s: outbound gateway changed"),
    kept=_("What you typed is kept, except the password."),
    form=OutboundForm,
    more=OutboundForm.context,
    refusals=(ValidationError, ConnectionTestError),
)
