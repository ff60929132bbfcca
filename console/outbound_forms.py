"""The form of a unit's outbound gateway."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import OrgUnit
from accounts.services.audit import Actor
from console.inheritable_form import InheritableForm
from policies.models import PolicyChange, Setting
from sendas.models import SmartHostCredential
from sendas.services.outbound_gateway import SmartHost, change_outbound_gateway
from sendas.services.outcomes import ConnectionTestError
from smtp.egress import ascii_host
from smtp.target import Security

INSTALLATION, OWN = "installation", "own"
NEW_SERVER = {"port": 587, "security_mode": Security.STARTTLS.value}


class OutboundForm(InheritableForm):
    """The installation's relay, or a server with its sign-in."""

    SETTING = Setting.OUTBOUND_GATEWAY

    use = forms.ChoiceField(
        label=gettext_lazy("Mail leaves by"),
        choices=[
            (INSTALLATION, gettext_lazy("The relay of this installation")),
            (OWN, gettext_lazy("This server")),
        ],
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose one of the two.")},
    )
    host = forms.CharField(
        label=gettext_lazy("Server"),
        max_length=253,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        error_messages={
            "required": gettext_lazy(
                "Type the name of the server, or choose the relay of this installation."
            )
        },
    )
    port = forms.IntegerField(
        label=gettext_lazy("Port"),
        min_value=1,
        max_value=65535,
        error_messages={"required": gettext_lazy("Type the port: 25, 587 or 465 as a rule.")},
    )
    security_mode = forms.ChoiceField(
        label=gettext_lazy("Encryption"),
        choices=[
            (Security.STARTTLS.value, gettext_lazy("STARTTLS, certificate checked")),
            (Security.SSL.value, gettext_lazy("TLS from the start, certificate checked")),
            (Security.NONE.value, gettext_lazy("None: only inside your own network")),
        ],
    )
    username = forms.CharField(
        label=gettext_lazy("User name"),
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off"}),
        help_text=gettext_lazy("Left empty, Outgate does not sign in there."),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=500,
        strip=False,
        required=False,
        # Never rendered with its value: a page does not hold a password.
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, unit: OrgUnit, data: QueryDict | None = None) -> None:
        super().__init__(unit, data)
        self.tested: ConnectionTestError | None = None

    def initial_of(self, value: dict[str, Any]) -> dict[str, Any]:
        server = value["server"]
        if server is None:
            return {"use": INSTALLATION, **NEW_SERVER}
        return {"use": OWN, **_server_fields(server)}

    def clean_host(self) -> str:
        host = ascii_host(str(self.cleaned_data["host"]))
        if host is None:
            raise ValidationError(
                _(
                    "A server's name looks like relay.example.com. Leave out the port, brackets "
                    "and spaces."
                )
            )
        return host

    def clean(self) -> None:
        """What is typed for a server is kept, but not checked, while none is chosen."""
        data = self.cleaned_data
        if self.inherits:
            self.errors.pop("use", None)
        if self.inherits or data.get("use") == INSTALLATION:
            for name in SmartHost._fields:
                self.errors.pop(name, None)
        elif data.get("username") and data.get("security_mode") == Security.NONE:
            self.add_error("username", _("Without encryption anybody could read the password."))

    @property
    def smart_host(self) -> SmartHost | None:
        if self.inherits or self.cleaned_data["use"] != OWN:
            return None
        return SmartHost(**{name: self.cleaned_data[name] for name in SmartHost._fields})

    def value(self) -> dict[str, Any] | None:
        """As it would be saved, but for a new sign-in: that has no number yet."""
        if self.inherits:
            return None
        host = self.smart_host
        if host is None:
            return {"server": None}
        server = {"host": host.host, "port": host.port, "security_mode": host.security_mode}
        own = (self.own or {}).get("server") or {}
        is_new = bool(host.username) and (bool(host.password) or own != own | server)
        known = own.get("credential_id") if host.username else None
        return {"server": {**server, "credential_id": 0 if is_new else known}}

    def save(self, *, actor: Actor, unit: OrgUnit, seen_path: str | None) -> PolicyChange | None:
        untouched = unit.is_root() and self.own is None and self.smart_host is None
        return change_outbound_gateway(
            actor=actor,
            unit=unit,
            smart_host=self.smart_host,
            inherit=self.inherits or untouched,
            based_on=self.cleaned_data["based_on"],
            reason=self.cleaned_data["reason"],
            starts_at=self.cleaned_data["starts_at"],
            seen_path=seen_path,
        )

    def refuse(self, refusal: Exception) -> None:
        if isinstance(refusal, ConnectionTestError):
            self.tested = refusal
            self.add_error(refusal.field, refusal.text)
        else:
            super().refuse(refusal)

    def is_saved_as(self, change: PolicyChange) -> bool:
        server = (change.new or {}).get("server")
        if self.smart_host is None or server is None:
            return (self.inherits, self.smart_host) == (change.new is None, server)
        typed = (self.smart_host.host, self.smart_host.port, self.smart_host.security_mode)
        # Another password would have made it another credential: nobody can tell that here.
        same = typed == (server["host"], server["port"], server["security_mode"])
        return same and not self.smart_host.password

    def context(self) -> dict[str, Any]:
        credential = _credential_of(self.own["server"]) if self.own else None
        return {
            **super().context(),
            "stored": credential is not None and credential.has_password,
            "wiped": credential if credential and not credential.has_password else None,
        }


def _credential_of(server: dict[str, Any] | None) -> SmartHostCredential | None:
    if not server or not server["credential_id"]:
        return None
    return SmartHostCredential.objects.filter(pk=server["credential_id"]).first()


def _server_fields(server: dict[str, Any]) -> dict[str, Any]:
    credential = _credential_of(server)
    return {
        "host": server["host"],
        "port": server["port"],
        "security_mode": server["security_mode"],
        "username": credential.username if credential else "",
    }
