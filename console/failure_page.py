"""What happens in one unit when an address's own server does not work."""

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from console.failure_form import FailureForm
from console.unit_page import UnitPage
from policies.models import Setting

failure_page = UnitPage(
    setting=Setting.GATEWAY_FAILURE,
    view_name="console:failure",
    template="console/failure.html",
    title=_("Own server fails"),
    legend=_("own choice"),
    own_below=ngettext_lazy(
        "%d unit below has a choice of its own", "%d units below have a choice of their own"
    ),
    changed=_("%(unit)s: another choice when an own server fails"),
    form=FailureForm,
    more=FailureForm.context,
)
