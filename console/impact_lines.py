"""What a value would change, in words: one line for each number of console/impact.py."""

from collections.abc import Callable
from typing import NamedTuple

from django.utils.translation import gettext_lazy, ngettext

from console.impact import Impact
from delivery.route_changes import Turn

ACCOUNTS, OUTBOX = "accounts", "outbox"
OURS, OWN, NOBODY = "default", "gateway", "stopped"


class Turning(NamedTuple):
    """One line of the panel: its words by the number, and what kind of route becomes which."""

    words: Callable[[int], str]
    before: str = OURS
    after: str = OURS


TURNS = {
    Turn.THROUGH: Turning(
        lambda count: ngettext(
            "address changes route: its own server is set up, and the address is verified",
            "addresses change route: their own servers are set up, and the addresses are verified",
            count,
        ),
        OURS,
        OWN,
    ),
    Turn.ON_BEHALF: Turning(
        lambda count: ngettext(
            "address changes route; recipients may then see “on behalf of”",
            "addresses change route; recipients may then see “on behalf of”",
            count,
        ),
        OWN,
        OURS,
    ),
    Turn.WAITS: Turning(
        lambda count: ngettext(
            "address’s mail then waits: the password for its own server does not work",
            "addresses’ mail then waits: the passwords for their own servers do not work",
            count,
        ),
        OURS,
        NOBODY,
    ),
    Turn.STOPPED: Turning(
        lambda count: ngettext(
            "address can no longer send: the password for its own server does not work",
            "addresses can no longer send: the passwords for their own servers do not work",
            count,
        ),
        OURS,
        NOBODY,
    ),
    Turn.RESUMES: Turning(
        lambda count: ngettext(
            "address can send again; recipients may then see “on behalf of”",
            "addresses can send again; recipients may then see “on behalf of”",
            count,
        ),
        NOBODY,
        OURS,
    ),
    Turn.STAYS_ON_BEHALF: Turning(
        lambda count: ngettext(
            "address keeps saying “on behalf of”: it has no server of its own that works and may "
            "be used",
            "addresses keep saying “on behalf of”: they have no server of their own that works and "
            "may be used",
            count,
        )
    ),
}
ROUTES = {
    OURS: gettext_lazy("by our servers"),
    OWN: gettext_lazy("through their own server"),
    NOBODY: gettext_lazy("stopped"),
    "": "",
}


class Line(NamedTuple):
    """`name` is how an address calls the list of those it counts.

    Accounts and messages in the outbox have no route before and after.
    """

    name: str
    number: int
    text: str
    before: str = ""
    after: str = ""

    @property
    def turns(self) -> bool:
        return self.before != self.after

    @property
    def stays(self) -> bool:
        """Whether it tells of what is left alone."""
        return not self.number or (bool(self.before) and not self.turns)

    @property
    def is_of_accounts(self) -> bool:
        return self.name == ACCOUNTS

    @property
    def before_text(self) -> str:
        return str(ROUTES[self.before])

    @property
    def after_text(self) -> str:
        return str(ROUTES[self.after])


def lines_of(impact: Impact) -> list[Line]:
    """What is gained or lost, then routes that turn, then what stays; without lines of nothing."""
    turns = [
        Line(turn.value, number, each.words(number), each.before, each.after)
        for turn, each in TURNS.items()
        if (number := impact.turns[turn])
    ]
    waiting = Line(OUTBOX, impact.messages, _messages_in_words(impact.messages))
    accounts = Line(ACCOUNTS, impact.accounts, _accounts_in_words(impact))
    return [accounts, *turns, *([waiting] if waiting.number else [])]


def _messages_in_words(count: int) -> str:
    return ngettext(
        "message waits in the outbox; it is routed again before it leaves",
        "messages wait in the outbox; each is routed again before it leaves",
        count,
    )


def _accounts_in_words(impact: Impact) -> str:
    if impact.allowed:
        return ngettext(
            "account may then use own servers", "accounts may then use own servers", impact.accounts
        )
    return ngettext(
        "account may then no longer use own servers",
        "accounts may then no longer use own servers",
        impact.accounts,
    )
