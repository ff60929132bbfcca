"""What is typed on the pages of a person's addresses, and read there."""

import re

from django.urls import reverse

from sendas.models import SendAs
from tests.sendas.conftest import CANARY, PARTNER

LIST, ADD = "/settings/", "/settings/send-as/add/"
SERVER = "/settings/send-as/server/?address=user.name%40partnerdomain.com"
BACK = "/settings/send-as/add/?address=user.name%40partnerdomain.com"
NEW = {"display_name": "User Name", "address": PARTNER, "treat_as_alias": "on"}
DETAILS = {"display_name": "User Name", "reply_to_address": "", "treat_as_alias": "on"}


def edit_page(send_as: SendAs) -> str:
    return reverse("sendas:edit", args=[send_as.pk])


def proof_page(address: str = PARTNER) -> str:
    return f"/settings/send-as/{SendAs.objects.get(send_as_email=address).pk}/prove/"


def server_fields(port: int, **changes: object) -> dict[str, object]:
    fields = {
        "route": "own", "host": "localhost", "port": port, "security_mode": "starttls",
        "username": PARTNER, "password": CANARY,
    }  # fmt: skip
    return fields | changes


def row_of(html: str, address: str) -> str:
    """The words of one row, tags left out."""
    rows = re.findall(r'<li class="list-row".*?</li>', html, re.DOTALL)
    row = next(row for row in rows if f"<b>{address}</b>" in row)
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())
