"""Formatted text: what is left of it when it is cleaned, and its words as plain text."""

import pytest

from delivery.rich_text import as_plain_text, clean_letter, is_formatted


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>", '<b onclick="x()">a</b>', '<a href="javascript:x()">a</a>',
        '<div style="color:red">a</div>', "<iframe src='https://a.example'></iframe>",
        "<form action='/x'><input></form>", '<img src="data:image/svg+xml,x" onerror="x()">',
    ],
)  # fmt: skip
def test_nothing_that_could_act_is_left(markup):
    cleaned = clean_letter(f"<div>Text</div>{markup}").lower()
    for word in ("script", "onerror", "onclick", "javascript:", "<form", "<iframe", "style="):
        assert word not in cleaned
    assert clean_letter(cleaned) == cleaned


def test_what_the_editor_writes_is_kept():
    written = (
        "<h1>Offer</h1><div><strong>a</strong><em>b</em><del>c</del>"
        '<a href="https://x.example/">d</a><br></div>'
        "<ul><li>e</li></ul><ol><li>f</li></ol><blockquote>g</blockquote>"
    )
    assert clean_letter(written) == written
    assert is_formatted(written)


@pytest.mark.parametrize("markup", ["", "<div><br></div>", "<div>&nbsp;</div>", "<b></b>"])
def test_an_empty_text_is_none(markup):
    assert clean_letter(markup) == ""


def test_lines_alone_are_no_formatting():
    assert not is_formatted(clean_letter("<div>First<br><br>Second &lt;b&gt;</div>"))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<div>First<br><br>Second</div><div>Third</div>", "First\n\nSecond\nThird"),
        ("<h1>Offer</h1><div>a &lt; b &amp; c</div>", "Offer\na < b & c"),
        ("<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>", "- a\n  - b\n- c"),
        ("<ol><li>a</li><li>b</li></ol><div>c</div>", "1. a\n2. b\nc"),
        ("<blockquote>a<br>b</blockquote><div>c</div>", "> a\n> b\nc"),
        ('<a href="https://x.example/">here</a>!', "here <https://x.example/>!"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
        ('<a href="mailto:a@x.example">a@x.example</a>', "a@x.example"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("Dear&nbsp;<strong>Claire</strong>", "Dear Claire"),
    ],
)
def test_its_words_in_lines(markup, text):
    assert as_plain_text(clean_letter(markup)) == text


@pytest.mark.parametrize("nested", ["<blockquote>a", "<ul><li>a"])
def test_levels_upon_levels_do_not_fill_the_memory(nested):
    """Each line begins with a sign for each level: without an end, 300 kB would be a gigabyte."""
    cleaned = clean_letter(nested * 2_000)
    assert len(as_plain_text(cleaned)) < 3 * len(cleaned)
