import re
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.address_words import address_refusal
from accounts.models import User
from policies.guardrails import NO_GUARDRAILS, Guardrails
from sendas.models import ReplyFrom, SendAs, SmtpMsa
from sendas.services.addresses import Details, Signature, clean_new_address
from sendas.services.connection import GatewaySettings
from sendas.services.discovery import Proposal
from sendas.services.outcomes import ConnectionTestError
from sendas.services.proof import CODE_DIGITS
from sendas.services.signatures import signature_for_box, signature_from_box
from smtp.address import AddressError, normalise_address
from smtp.target import Security

OWN_SERVER, OUR_SERVERS = "own", "ours"
TREAT_AS_ALIAS_HELP = gettext_lazy("Leave it on if the mailbox is yours alone.")
# The name goes into header fields, where a line break would begin another one.
NO_CONTROL_CHARACTERS = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f]",
    gettext_lazy("Leave out line breaks and other control characters."),
    inverse_match=True,
)
# Letters of any script; without a dot too, for a server inside the organisation.
_HOST_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*")


def _name_field() -> forms.CharField:
    return forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        validators=[NO_CONTROL_CHARACTERS],
        help_text=gettext_lazy("Recipients see it."),
        error_messages={"required": gettext_lazy("Type a name for this address.")},
    )


class _ReplyToField(forms.CharField):
    """An address, or nothing."""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Replies go to"),
            max_length=254,
            required=False,
            widget=forms.EmailInput,
            help_text=gettext_lazy(
                "Empty: to the address itself. It holds for messages that you write here; set it "
                "in your mail program too."
            ),
        )

    def clean(self, value: Any) -> str:
        address = str(super().clean(value))
        try:
            return normalise_address(address) if address else ""
        except AddressError as error:
            raise ValidationError(address_refusal(error)) from error


class _SignatureField(forms.CharField):
    """Text, or HTML of which only formatting is kept."""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Signature"),
            required=False,
            widget=forms.Textarea(attrs={"rows": 4}),
            help_text=gettext_lazy(
                "Text, or HTML with formatting, links and pictures on the web; scripts and styles "
                "are left out. It goes below messages that you write here; set it in your mail "
                "program too."
            ),
        )

    def clean(self, value: Any) -> Signature:
        return signature_from_box(str(super().clean(value)))


def _alias_field() -> forms.BooleanField:
    return forms.BooleanField(
        label=gettext_lazy("Treat as an alias"), required=False, help_text=TREAT_AS_ALIAS_HELP
    )


class AddressForm(forms.Form):
    """A new outside address of `user`."""

    display_name = _name_field()
    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=254,
        widget=forms.EmailInput,
        error_messages={"required": gettext_lazy("Type the address you want to send from.")},
    )
    reply_to_address = _ReplyToField()
    signature = _SignatureField()
    treat_as_alias = _alias_field()

    use_required_attribute = False

    def __init__(self, user: User, data: Any, initial: dict[str, Any]) -> None:
        boxed = signature_for_box(initial.get("signature", ""))
        super().__init__(data, initial=initial | {"signature": boxed})
        self.user = user
        self.fields["address"].widget.attrs["data-due"] = True

    def clean_address(self) -> str:
        return clean_new_address(self.user, self.cleaned_data["address"])


class DetailsForm(forms.Form):
    """What can be changed of any address in the list."""

    display_name = _name_field()
    reply_to_address = _ReplyToField()
    signature = _SignatureField()
    treat_as_alias = _alias_field()

    use_required_attribute = False

    @property
    def details(self) -> Details:
        return Details(**self.cleaned_data)


class ServerForm(forms.Form):
    """Which server carries an address's mail, and how to sign in there.

    What is typed for an own server is kept, but not checked, while "our servers" is chosen.
    """

    route = forms.ChoiceField(
        label=gettext_lazy("Which server carries its mail?"),
        choices=[
            (OWN_SERVER, gettext_lazy("Through the address’s own server")),
            (OUR_SERVERS, gettext_lazy("By our servers")),
        ],
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose one of the two.")},
    )
    host = forms.CharField(
        label=gettext_lazy("Server"),
        max_length=253,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
        error_messages={"required": gettext_lazy("Type the name of the SMTP server.")},
    )
    port = forms.TypedChoiceField(label=gettext_lazy("Port"), coerce=int)
    security_mode = forms.ChoiceField(
        label=gettext_lazy("Encryption"), choices=SmtpMsa.SECURITY_CHOICES
    )
    username = forms.CharField(
        label=gettext_lazy("User name"),
        max_length=254,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Type the user name for this server.")},
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=500,
        strip=False,
        help_text=gettext_lazy("Stored encrypted, for this server and user name only."),
        # Never rendered with its value: a page does not hold a password.
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": gettext_lazy("Type the password for this server.")},
    )

    use_required_attribute = False

    def __init__(
        self,
        data: Any,
        *,
        address: str,
        route: str,
        guardrails: Guardrails = NO_GUARDRAILS,
        msa: SmtpMsa | None = None,
        proposal: Proposal | None = None,
    ) -> None:
        """`route` is chosen where the address has no server yet, and filled in as proposed."""
        kept = _as_kept(msa) if msa else _as_proposed(address, route, proposal or Proposal())
        if msa is None and guardrails.tls_from_start:
            kept |= {"security_mode": Security.SSL.value, "port": "465"}
        super().__init__(data, initial=kept)
        port = self.fields["port"]
        port.choices = _port_choices(guardrails, msa)  # type: ignore[attr-defined]
        # Where only TLS from the start is allowed, no port changes it.
        if not guardrails.tls_from_start:
            self.fields["security_mode"].widget.attrs["data-follows-port"] = True
        self.fields["password"].required = msa is None or not msa.has_password
        if msa is None and route == OWN_SERVER:
            due = "password" if kept["host"] else "host"
            self.fields[due].widget.attrs["data-due"] = True
        self.test_error: ConnectionTestError | None = None

    def clean_host(self) -> str:
        host = str(self.cleaned_data["host"]).lower().removesuffix(".")
        # What can be no name is told here: a test would count towards the few that are allowed.
        if not HOST_NAME.fullmatch(host):
            raise ValidationError(
                _(
                    "A server's name looks like smtp.example.com. Leave out https://, the port, "
                    "brackets and spaces."
                )
            )
        return host

    def clean(self) -> None:
        if not self.uses_own_server:
            for name in ("host", "port", "security_mode", "username", "password"):
                self.errors.pop(name, None)

    @property
    def uses_own_server(self) -> bool:
        return self.cleaned_data.get("route") == OWN_SERVER

    @property
    def gateway(self) -> GatewaySettings:
        """With an empty password where the stored one is to be kept."""
        return GatewaySettings(
            **{name: self.cleaned_data[name] for name in GatewaySettings._fields}
        )

    def refuse(self, refusal: ValidationError | ConnectionTestError) -> None:
        """Tell the reason above, and mark the field that has to be looked at."""
        if isinstance(refusal, ConnectionTestError):
            self.test_error = refusal
            self.add_error(None, refusal.text)
            self.add_error(refusal.field, _("See the connection test on this page."))
        else:
            self.add_error(None, refusal)


class ReplyForm(forms.Form):
    """Which address an answer is written from."""

    reply_from = forms.ChoiceField(
        label=gettext_lazy("When you reply, write from"),
        choices=ReplyFrom.choices,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose one of the two.")},
    )


class CodeForm(forms.Form):
    """The code that proves one address; several stand on one page, so ids carry the row's."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=20,
        widget=forms.TextInput(
            attrs={
                "inputmode": "numeric",
                "autocomplete": "one-time-code",
                "placeholder": "········",
                # A page that changes by itself leaves what is being typed as it is.
                "hx-preserve": "true",
            }
        ),
        error_messages={"required": gettext_lazy("Type the code from the mail.")},
    )

    use_required_attribute = False

    def __init__(self, send_as: SendAs, data: Any = None, *, is_due: bool = False) -> None:
        """`is_due`: the page is there for the code. A code that was refused is due again."""
        super().__init__(data, auto_id=f"id_%s_{send_as.pk}")
        self.send_as = send_as
        self.is_due = is_due or self.is_bound
        if self.is_due:
            # It may be far down the list: the browser goes there, without a script too.
            self.fields["code"].widget.attrs |= {"autofocus": True, "data-due": True}

    def clean_code(self) -> str:
        """The digits alone. What can't be the code is told here, and costs no try."""
        code = "".join(str(self.cleaned_data["code"]).split())
        if not re.fullmatch(rf"[0-9]{{{CODE_DIGITS}}}", code):
            raise ValidationError(
                _("The code has %(number)s digits. Copy all of them from the newest mail from us.")
                % {"number": CODE_DIGITS}
            )
        return code


def _as_proposed(address: str, route: str, proposal: Proposal) -> dict[str, Any]:
    return {
        "route": route,
        "host": proposal.host,
        "port": str(proposal.port),
        "security_mode": proposal.security_mode,
        "username": proposal.username or address,
    }


def _as_kept(msa: SmtpMsa) -> dict[str, Any]:
    return {
        "route": OWN_SERVER,
        "host": msa.host,
        "port": str(msa.port),
        "security_mode": msa.security_mode,
        "username": msa.username,
    }


def _port_choices(guardrails: Guardrails, msa: SmtpMsa | None) -> list[tuple[str, str]]:
    """The usual two first, then what else is allowed, or was when it was chosen."""
    opened = settings.OUTGATE_EGRESS_PORTS
    allowed = (opened & guardrails.ports or opened) | ({msa.port} if msa else set())
    ports = sorted(allowed, key=lambda port: (port not in (587, 465), port))
    return [(str(port), str(port)) for port in ports]
