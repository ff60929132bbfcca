"""The form of a message that somebody writes on a page."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from accounts.address_words import address_refusal
from delivery.letters import (
    BASE64_LINE,
    HEADER_OCTETS,
    Attachment,
    Letter,
    signed_html,
    signed_text,
)
from delivery.rich_text import as_plain_text, clean_letter, is_formatted
from delivery.sending import Sender
from delivery.uploads import MOST_FILES, LeftOut
from sendas.forms import NO_CONTROL_CHARACTERS
from sendas.services.addresses import ListedAddress
from sendas.services.signatures import signature_as_text
from smtp.address import AddressError, Mailbox, parse_from, split_address

MAX_RECIPIENTS = 100  # RFC 5321 4.5.3.1.8, as for mail programs
MAX_REFERENCES = 100
LONGEST_HTML = 300_000  # characters
# Between commas, semicolons and line breaks, but not those between quotes or < and >.
_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^<>]*>|[^,;\r\n])+')
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


class RecipientsField(forms.CharField):
    """Addresses with or without names, as mail programs write them; the value is mailboxes."""

    def __init__(self, label: Any, **options: Any) -> None:
        super().__init__(
            label=label,
            max_length=10_000,
            required=False,
            widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false"}),
            **options,
        )

    def clean(self, value: Any) -> list[Mailbox]:
        pieces = [piece.strip() for piece in _PIECE.findall(super().clean(value))]
        return [_mailbox(piece) for piece in pieces if piece]


def _mailbox(piece: str) -> Mailbox:
    try:
        mailbox = parse_from(piece.encode(), smtputf8=True)
    except AddressError as error:
        raise ValidationError(
            _("“%(piece)s”: %(reason)s.") % {"piece": piece, "reason": address_refusal(error)}
        ) from error
    return mailbox._replace(address=_as_typed(piece, mailbox.address))


def _as_typed(piece: str, address: str) -> str:
    """The address with its local part in the spelling that was typed: only its owner folds it."""
    typed = piece[piece.rfind("<") + 1 : piece.rfind(">")] if piece.endswith(">") else piece
    local, domain = split_address(address)
    spelled = split_address(typed)[0]
    return f"{spelled}@{domain}" if spelled.lower() == local else address


class _FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class AttachmentsField(forms.FileField):
    """Any number of files; the value is a list of UploadedFile."""

    widget = _FilesInput

    def clean(self, data: Any, initial: Any = None) -> "list[UploadedFile[Any]]":
        files = data if isinstance(data, list) else [data] if data else []
        return [super(AttachmentsField, self).clean(each, initial) for each in files]


class _KeptFilesInput(forms.CheckboxSelectMultiple):
    """Each box says how large its file is: compose.js adds them up with those chosen."""

    sizes: Sequence[int] = ()

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        option["attrs"]["data-octets"] = self.sizes[value]
        return option


class ComposeForm(forms.Form):
    """`senders` are those the account may choose from. Its `letter` is there once it is valid."""

    number = forms.UUIDField(widget=forms.HiddenInput)
    in_reply_to = forms.CharField(widget=forms.HiddenInput, required=False)
    references = forms.CharField(widget=forms.HiddenInput, required=False)
    sender = forms.ChoiceField(label=pgettext_lazy("in a message that is written", "From"))
    to = RecipientsField(
        gettext_lazy("To"),
        help_text=gettext_lazy("Several addresses stand with commas between them."),
    )
    cc = RecipientsField(gettext_lazy("Cc"))
    bcc = RecipientsField(
        gettext_lazy("Bcc"), help_text=gettext_lazy("Nobody else sees who is here.")
    )
    subject = forms.CharField(
        label=gettext_lazy("Subject"),
        max_length=500,
        required=False,
        validators=[NO_CONTROL_CHARACTERS],
    )
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=100_000,
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12}),
    )
    # What the editor of compose.js wrote; `text` is of no account then.
    html = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    with_signature = forms.BooleanField(
        label=gettext_lazy("With the signature of the address"),
        required=False,
        initial=True,
        help_text=gettext_lazy("It goes below the text, under a line of two hyphens."),
    )
    # Those of a message that is opened again, by their place in it.
    kept = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Attachments that go with it"),
        coerce=int,
        required=False,
        widget=_KeptFilesInput,
    )
    attachments = AttachmentsField(label=gettext_lazy("Attachments"), required=False)

    use_required_attribute = False

    def __init__(
        self,
        senders: Sequence[Sender],
        given: Mapping[str, Any] | None = None,
        *,
        data: Any = None,
        files: Any = None,
        chosen: "Sequence[UploadedFile[Any]]" = (),
        left_out: LeftOut | None = None,
        kept: Sequence[Attachment] = (),
        formatted: str = "",
    ) -> None:
        """`given` stands in the fields to begin with; `left_out`: why files were not kept.

        `chosen` are files of a form that is shown again without having been judged. `kept` are
        those of a message that is opened again, and `formatted` its text for the editor: without
        compose.js nothing would come of what is changed in the plain one.
        """
        usable = [sender.listed for sender in senders if not sender.refusal]
        default = next((each.address for each in usable if each.is_default), None)
        initial = {"number": uuid4(), "sender": default, "kept": [*range(len(kept))]}
        super().__init__(data, files, initial=initial | dict(given or {}))
        self._kept = kept
        if formatted:
            self.fields["html"].widget.attrs["data-formatted"] = formatted
        choices: Any = self.fields["kept"]
        choices.choices = [
            (place, f"{each.name} ({filesizeformat(each.size)})") for place, each in enumerate(kept)
        ]
        choices.widget.sizes = [each.size for each in kept]
        self._left_out = left_out
        self.has_signatures = any(each.row and each.row.signature for each in usable)
        self._chosen = chosen or (files.getlist("attachments") if files else ())
        self.senders: dict[str, ListedAddress] = {each.address: each for each in usable}
        choice: Any = self.fields["sender"]
        choice.choices = [
            (sender.listed.address, f"{_named(sender)} · {sender.route}")
            for sender in senders
            if not sender.refusal
        ] or [(address, address) for address in [(given or {}).get("sender")] if address]
        choice.error_messages["invalid_choice"] = _(
            "Nothing can be sent from %(value)s at present. Choose another address."
        )
        attachments = self.fields["attachments"]
        attachments.help_text = _("Together at most %(size)s.") % {"size": filesizeformat(_room())}
        # For compose.js, which tells before anything is sent.
        attachments.widget.attrs |= {"data-most-files": MOST_FILES, "data-most-octets": _room()}

    def clean(self) -> None:
        for name in ("in_reply_to", "references"):
            if not all(map(_MESSAGE_ID.fullmatch, self.cleaned_data.get(name, "").split())):
                # No field that is seen belongs to it.
                self.add_error(
                    None,
                    _(
                        "The message that you answer is not named here in a way that can be "
                        "written. Choose “Reply” there once more, or write a new message."
                    ),
                )
        self._check_recipients()
        if len(self.cleaned_data.get("html", "")) > LONGEST_HTML:
            # The field itself is not to be seen.
            self.add_error("text", _("The text is too long: send a part of it as a file."))
        if not self.errors and len(self.letter.attachments) > MOST_FILES:
            self.add_error("attachments", self.too_many)
        if not self.errors and self.letter.most_octets > settings.OUTGATE_MESSAGE_SIZE:
            self.add_error("attachments", self.too_large)

    def _check_recipients(self) -> None:
        fields = ("to", "cc", "bcc")
        if any(name in self.errors for name in fields):
            return
        count = len({each.address for name in fields for each in self.cleaned_data[name]})
        if not count:
            self.add_error("to", _("Type at least one address, here or in Cc or Bcc."))
        elif count > MAX_RECIPIENTS:
            self.add_error(
                "to",
                _("A message takes %(most)d recipients, and this one has %(count)d. Send several.")
                % {"most": MAX_RECIPIENTS, "count": count},
            )

    def clean_attachments(self) -> "list[UploadedFile[Any]]":
        files: list[UploadedFile[Any]] = self.cleaned_data["attachments"]
        if self._left_out:
            told = self.too_many if self._left_out == LeftOut.TOO_MANY else self.too_large
            raise ValidationError(told)
        return files

    @property
    def too_many(self) -> str:
        return _(
            "A message takes %(most)d attachments. Put files together into an archive, or send "
            "them in several messages."
        ) % {"most": MOST_FILES}

    @property
    def too_large(self) -> str:
        return _(
            "The message would be larger than a message may be. Attachments can have %(size)s "
            "together. Leave some out, or send them in several messages."
        ) % {"size": filesizeformat(_room())}

    @property
    def chosen_files(self) -> list[str]:
        """The names of files that were sent with a form that was refused."""
        return [each.name or "" for each in self._chosen]

    @property
    def letter(self) -> Letter:
        typed = self.cleaned_data
        sender = self.senders[typed["sender"]]
        answered = typed["in_reply_to"].split()[-1:]
        # RFC 5322 3.6.4: the answered message comes last.
        earlier = [each for each in typed["references"].split() if each not in answered]
        signature = sender.row.signature if sender.row and typed["with_signature"] else ""
        markup = clean_letter(typed["html"])
        text = as_plain_text(markup) if typed["html"] else typed["text"]
        return Letter(
            sender=Mailbox(sender.display_name, sender.address),
            to=typed["to"],
            cc=typed["cc"],
            bcc=typed["bcc"],
            subject=typed["subject"],
            text=signed_text(text, signature_as_text(signature)),
            html=signed_html(markup, signature) if is_formatted(markup) else "",
            attachments=[
                *(self._kept[place] for place in typed["kept"]),
                *(_attachment(each) for each in typed["attachments"]),
            ],
            reply_to=sender.row.reply_to_address if sender.row else "",
            in_reply_to="".join(answered),
            references=(earlier + answered)[-MAX_REFERENCES:],
        )


def _room() -> int:
    """How many octets attachments can have together: in the message they become larger."""
    octets: int = settings.OUTGATE_MESSAGE_SIZE - HEADER_OCTETS
    return octets * BASE64_LINE // 78


def _named(sender: Sender) -> str:
    name, address = sender.listed.display_name, sender.listed.address
    return f"{name} <{address}>" if name else address


def _attachment(file: "UploadedFile[Any]") -> Attachment:
    return Attachment(file.name or "", file.content_type or "", file.size or 0, file.read)
