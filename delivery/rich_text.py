"""Formatted text as the compose page's editor writes it: cleaned, and as plain text."""

from html.parser import HTMLParser

from sendas.services.signatures import TAGS, clean_markup

LETTER_TAGS = TAGS | {"del", "h1", "pre"}
_BLOCKS = {"blockquote", "div", "h1", "li", "ol", "p", "pre", "tr", "ul"}
_DEEPEST = 20  # levels that plain text shows: a sign for each, on each line, may fill the memory
# What plain text says as well.
_UNFORMATTED = {"br", "div", "p", "span"}


def clean_letter(markup: str) -> str:
    """Leave out all but formatting, as from a signature; "" where nothing is written."""
    cleaned = clean_markup(markup, LETTER_TAGS)
    return cleaned if as_plain_text(cleaned).strip() or "<img" in cleaned else ""


def is_formatted(cleaned: str) -> bool:
    """Whether plain text would lose anything of it."""
    return not _read(cleaned).tags <= _UNFORMATTED


def as_plain_text(cleaned: str) -> str:
    """Its words in lines: items with dash or number, quotes behind >, links written out."""
    return _read(cleaned).text


def _read(cleaned: str) -> "_Reader":
    reader = _Reader()
    reader.feed(cleaned)
    reader.close()
    return reader


class _Reader(HTMLParser):
    """Writes lines while it reads; `tags` are those that it met."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self._lines: list[str] = []
        self._line = ""
        self._lists: list[int | None] = []  # the number of the last item, None where dashes stand
        self._quotes = 0
        self._link = ""
        self._linked = ""

    @property
    def text(self) -> str:
        return "\n".join([*self._lines, self._line]).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag in _BLOCKS and self._line:
            self._end_line()
        if tag == "br":
            self._end_line()
        elif tag in {"ul", "ol"}:
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._line = self._item()
        elif tag == "blockquote":
            self._quotes += 1
        elif tag == "a":
            self._link, self._linked = dict(attrs).get("href") or "", ""
        elif tag == "hr":
            self._line = "-" * 20
            self._end_line()

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS and self._line:
            self._end_line()
        if tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag == "blockquote":
            self._quotes -= 1
        elif tag == "a":
            if self._link.removeprefix("mailto:") not in ("", self._linked):
                self._line += f" <{self._link}>"
            self._link = ""

    def handle_data(self, data: str) -> None:
        first, *more = data.replace("\xa0", " ").split("\n")
        self._line += first
        self._linked += data
        for line in more:
            self._end_line()
            self._line = line

    def _item(self) -> str:
        depth = "  " * min(max(len(self._lists) - 1, 0), _DEEPEST)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{depth}- "
        self._lists[-1] = number + 1
        return f"{depth}{number + 1}. "

    def _end_line(self) -> None:
        self._lines.append("> " * min(self._quotes, _DEEPEST) + self._line.rstrip())
        self._line = ""
