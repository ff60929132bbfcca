"""Where a setting is, found by a word of it."""

from typing import NamedTuple

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Privilege
from accounts.services.rights import Rights


class Place(NamedTuple):
    """A page of the console. `words`: what people also call it.

    One of the `privileges` opens it; without any it is for super administrators.
    """

    title: str | Promise
    text: str | Promise
    words: str | Promise
    view_name: str
    privileges: tuple[Privilege, ...]

    @property
    def url(self) -> str:
        return reverse(self.view_name)


PLACES = [
    Place(
        _("Per-user outbound gateways"),
        _("Apps › Suite › Mail › Advanced settings"),
        _("allow own smtp server send mail as from address external relay outgoing smart host"),
        "console:mail_advanced",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("End user access"),
        _("Apps › Suite › Mail settings: the same setting of per-user outbound gateways"),
        _("user own smtp server allow people send mail as"),
        "console:mail_access",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Guardrails"),
        _("Apps › Suite › Mail: what own servers may be used, and how much a person may send"),
        _(
            "allow deny block smtp host server domain wildcard port tls starttls encryption limit "
            "recipients per day hour addresses per user gateway approval"
        ),
        "console:guardrails",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Outbound gateway"),
        _("Apps › Suite › Mail: the server that mail leaves by where no own server carries it"),
        _("smart host relay smarthost organisation default route archive outgoing server tls"),
        "console:outbound",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Own server fails"),
        _("Apps › Suite › Mail: what happens to mail when an address’s own server does not work"),
        _(
            "gateway failure down unreachable broken refuse hold retry queue fallback our servers "
            "on behalf sender when smtp outage"
        ),
        "console:failure",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Waiting for approval"),
        _("Apps › Suite › Mail: own servers that an administrator has to look at"),
        _("approve refuse pending gateway smtp server new"),
        "console:approvals",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Accounts"),
        _("What holds for one account, and why; creating, suspending, moving one; app passwords"),
        _(
            "user person people allowed not yet express cohort apply now why suspend block restore "
            "move another unit create new add invite app password revoke lost laptop alias rename"
        ),
        "console:accounts",
        (Privilege.MAIL_SETTINGS, Privilege.USERS),
    ),
    Place(
        _("Units"),
        _("The tree of units: creating, renaming, moving and deleting them"),
        _("organisational unit ou department group tree create new add rename move delete remove"),
        "console:units",
        (Privilege.USERS,),
    ),
    Place(
        _("Simulator"),
        _("Why a message would go its way, or went it, step by step"),
        _("route decision explain why message from address envelope sender header simulate test"),
        "console:simulator",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Rollouts"),
        _("Which change has reached whom, and when it reaches everybody"),
        _("progress wave change history undo pending hour"),
        "console:rollouts",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Failing servers"),
        _("Which servers people’s outside addresses can’t use, why, and whose"),
        _("refused failing broken stopped unreachable password server certificate tls 535"),
        "console:failing_servers",
        (Privilege.MAIL_SETTINGS,),
    ),
    Place(
        _("Audit"),
        _("Who changed what, when and from where"),
        _("log history report events download csv json"),
        "console:audit",
        (Privilege.REPORTS,),
    ),
    Place(
        _("Administrators"),
        _("Who has which role in which unit"),
        _("role privilege delegate admin right super support"),
        "console:administrators",
        (),
    ),
    Place(
        _("Stored passwords"),
        _("How many are stored for which server outside, and wiping all of one server"),
        _("credential secret smtp host wipe delete breach"),
        "console:stored_passwords",
        (),
    ),
]


class Found(NamedTuple):
    place: Place
    open_to_me: bool


def find_places(text: str, rights: Rights) -> list[Found]:
    """Places in whose words each word of `text` begins; those without a right come as well."""
    wanted = text.lower().replace("-", " ").split()
    return [
        Found(place, _is_open(place, rights))
        for place in PLACES
        if wanted and all(_begins_one(word, place) for word in wanted)
    ]


def _is_open(place: Place, rights: Rights) -> bool:
    return rights.is_super or any(rights.paths(privilege) for privilege in place.privileges)


def _begins_one(word: str, place: Place) -> bool:
    known = f"{place.title} {place.text} {place.words}".lower().replace("-", " ").split()
    return any(each.startswith(word) for each in known)
