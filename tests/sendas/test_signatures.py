"""Signatures: what stays of them, and the box that they are typed into."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from sendas.models import SendAs
from sendas.services.signatures import (
    LONGEST,
    clean_signature,
    signature_as_text,
    signature_for_box,
    signature_from_box,
)
from tests.sendas.conftest import PARTNER, make_send_as

EDIT_OWN = "/settings/send-as/edit/?address=user@yourdomain.com"
DETAILS = {"display_name": "User Name", "treat_as_alias": "on"}


LINK = '<a href="https://a.example">a</a>'
LOGO = '<img src="https://a.example/logo.png" alt="Logo">'


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Yuki Tanaka\r\nSales", "Yuki Tanaka<br>Sales"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
        (f"<b>Yuki</b> {LINK}", f"<b>Yuki</b> {LINK}"),
        ('<a href="mailto:y@a.example">y</a>', '<a href="mailto:y@a.example">y</a>'),
        (LOGO, LOGO),
        ("<script>alert(1)</script>Yuki", "Yuki"),
        ("<style>p{}</style><p>Yuki</p>", "<p>Yuki</p>"),
        ('<p onclick="x()" style="color:red" class="x">Yuki</p>', "<p>Yuki</p>"),
        ('<a href="javascript:alert(1)">a</a>', "<a>a</a>"),
        ('<img src="data:image/svg+xml,x" onerror="x()">', "<img>"),
        ("<form action='/x'><input name='a'>Yuki</form>", "Yuki"),
        ("<iframe src='https://a.example'></iframe><b>Yuki", "<b>Yuki</b>"),
        ("<svg><script>x</script></svg>Yuki", "Yuki"),
        ("<!-- hidden --><b>Yuki</b>", "<b>Yuki</b>"),
        ("", ""),
    ],
)  # fmt: skip
def test_formatting_stays_and_what_could_act_goes(typed, kept):
    assert signature_from_box(typed) == kept
    assert clean_signature(kept) == kept


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=60))
def test_text_comes_back_as_it_was_typed(text):
    kept = signature_from_box(text)
    if "<" not in text:
        assert signature_for_box(kept) == text.strip()
    assert clean_signature(kept) == kept
    assert signature_from_box(signature_for_box(kept)) == kept


def test_it_is_no_longer_than_a_signature_can_be():
    with pytest.raises(ValidationError, match="at most"):
        clean_signature("x" * (LONGEST + 1))
    assert len(clean_signature("x" * LONGEST)) == LONGEST


def test_it_is_kept_with_the_address_and_shown_as_it_was_typed(client, owner):
    client.force_login(owner)
    client.post(
        "/settings/send-as/add/",
        DETAILS | {"address": PARTNER, "signature": "Yuki\r\nSales & more"},
    )
    assert SendAs.objects.get().signature == "Yuki<br>Sales &amp; more"
    client.post(EDIT_OWN, DETAILS | {"signature": "<b>Yuki</b><script>x</script>"})
    html = client.get(EDIT_OWN).content.decode()
    assert "&lt;b&gt;Yuki&lt;/b&gt;</textarea>" in html
    assert "script&gt;x" not in html


def test_what_was_typed_stays_as_it_is_while_the_server_is_looked_for(client, owner):
    send_as = make_send_as(owner)
    client.force_login(owner)
    html = client.post(
        f"/settings/send-as/{send_as.pk}/edit/", DETAILS | {"signature": "a &lt; b", "find": ""}
    ).content.decode()
    assert "a &amp;lt; b</textarea>" in html


def test_one_that_is_too_long_is_told_and_kept_in_the_box(client, owner):
    send_as = make_send_as(owner)
    client.force_login(owner)
    answer = client.post(
        f"/settings/send-as/{send_as.pk}/edit/", DETAILS | {"signature": "x" * (LONGEST + 1)}
    )
    html = answer.content.decode()
    assert "A signature has at most" in html
    assert "x" * (LONGEST + 1) in html
    assert SendAs.objects.get().signature == ""


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("Yuki &amp; Co.<br>Sales", "Yuki & Co.\nSales"),
        (f"<p><b>Yuki</b></p><p>{LINK}</p>", "Yuki\na"),
        ("<ul><li>1 &lt; 2</li><li> 2 </li></ul>", "1 < 2\n2"),
        (LOGO, ""),
    ],
)
def test_a_signature_as_text_keeps_words_and_lines(signature, text):
    assert signature_as_text(clean_signature(signature)) == text
