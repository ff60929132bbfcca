"""What a value would change, in words: one line for each number of console/impact.py."""

from collections.abc import Callable
from typing import NamedTuple

from django.utils.translation import gettext_lazy, ngettext

from console.impact import Impact
from console.unit_setting import GATEWAY
from delivery.route_changes import Turn
from policies.models import Setting

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
    Turn.OTHER_SERVER: Turning(
        lambda count: ngettext(
            "outside address changes route: its mail leaves by the other outbound gateway, still "
            "“on behalf of”",
            "outside addresses change route: their mail leaves by the other outbound gateway, "
            "still “on behalf of”",
            count,
        )
    ),
    Turn.WAITS_INSTEAD: Turning(
        lambda count: ngettext(
            "address’s mail then waits instead of being refused: the password for its own server "
            "does not work",
            "addresses’ mail then waits instead of being refused: the passwords for their own "
            "servers do not work",
            count,
        ),
        NOBODY,
        NOBODY,
    ),
    Turn.REFUSED_INSTEAD: Turning(
        lambda count: ngettext(
            "address’s mail is then refused instead of waiting: the password for its own server "
            "does not work",
            "addresses’ mail is then refused instead of waiting: the passwords for their own "
            "servers do not work",
            count,
        ),
        NOBODY,
        NOBODY,
    ),
    Turn.IF_FAILS: Turning(
        lambda count: ngettext(
            "address keeps its own server; only if that does not work, its mail fares otherwise "
            "than now",
            "addresses keep their own servers; only if these do not work, their mail fares "
            "otherwise than now",
            count,
        ),
        OWN,
        OWN,
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
    """`name` is how an address calls the list of those it counts; "" where there is none.

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
        return not self.number or self.name in {"", Turn.STAYS_ON_BEHALF}

    @property
    def is_of_accounts(self) -> bool:
        return self.name == ACCOUNTS

    def ways(self, impact: Impact) -> tuple[str, str]:
        """Before and after, as the file tells them: routes, or values where no route turns."""
        if self.turns or self.stays:
            return str(ROUTES[self.before]), str(ROUTES[self.after])
        return ("", "") if self.name == OUTBOX else (impact.before_text, impact.value_text)

    @property
    def before_text(self) -> str:
        return str(ROUTES[self.before])

    @property
    def after_text(self) -> str:
        return str(ROUTES[self.after])


def lines_of(impact: Impact) -> list[Line]:
    """What is gained or lost, then routes that turn, then what stays; without lines of nothing."""
    waiting = Line(OUTBOX, impact.messages, _messages_in_words(impact.messages))
    accounts = Line(ACCOUNTS, impact.accounts, _accounts_in_words(impact))
    same = Line("", impact.accounts_same, _same_in_words(impact))
    return [
        accounts,
        *turns_of(impact),
        *(line for line in (waiting, same) if line.number),
    ]


def turns_of(impact: Impact) -> list[Line]:
    """The addresses alone. That routes stay as they are is told of the first setting only."""
    told = [turn for turn in TURNS if impact.setting == GATEWAY or turn != Turn.STAYS_ON_BEHALF]
    return [
        Line(turn.value, number, TURNS[turn].words(number), TURNS[turn].before, TURNS[turn].after)
        for turn in told
        if (number := impact.turns[turn])
    ]


def _messages_in_words(count: int) -> str:
    return ngettext(
        "message waits in the outbox; it is routed again before it leaves",
        "messages wait in the outbox; each is routed again before it leaves",
        count,
    )


def _accounts_in_words(impact: Impact) -> str:
    count = impact.accounts
    if impact.setting == Setting.OUTBOUND_GATEWAY:
        return ngettext(
            "account then has another outbound gateway: its primary address and aliases leave by "
            "that",
            "accounts then have another outbound gateway: their primary addresses and aliases "
            "leave by that",
            count,
        )
    if impact.setting != GATEWAY:
        return ngettext("account then has another value", "accounts then have another value", count)
    if impact.then["allowed"]:
        return ngettext(
            "account may then use own servers", "accounts may then use own servers", count
        )
    return ngettext(
        "account may then no longer use own servers",
        "accounts may then no longer use own servers",
        count,
    )


def _same_in_words(impact: Impact) -> str:
    count = impact.accounts_same
    if impact.setting == GATEWAY:
        return ngettext(
            "account has %(value)s already", "accounts have %(value)s already", count
        ) % {"value": impact.value_text}
    return ngettext(
        "account keeps what it has: the same already, or the value of a unit below",
        "accounts keep what they have: the same already, or the value of a unit below",
        count,
    )
