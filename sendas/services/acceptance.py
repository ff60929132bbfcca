"""Whether receivers will probably take an address's mail, by each of its two routes, and why.

Through its own server the envelope names the address's own domain, so SPF can vouch for it. By our
servers the envelope names the primary address: SPF, and a signature of ours, vouch for our domain,
and the address's domain decides by DMARC whether that is enough. A signature of the own server
(DKIM) is seen in a message only, so nothing is promised of it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _

from accounts.models import User
from sendas.models import MailDomain, SendAs, SmtpMsa
from sendas.services.addresses import ListedAddress
from sendas.services.mail_domains import known_domains
from smtp.address import split_address

Policy = MailDomain.Policy
STRICT = {Policy.QUARANTINE, Policy.REJECT}


class Kind(StrEnum):
    """As parts/judgement.html takes it."""

    EXPECTED = "ok"
    AT_RISK = "warn"
    REFUSED = "bad"
    UNKNOWN = "unknown"


class Judgement(NamedTuple):
    kind: Kind
    text: str

    @property
    def is_doubtful(self) -> bool:
        """Whether another route would be worth a thought."""
        return self.kind in {Kind.AT_RISK, Kind.REFUSED}


class Acceptance(NamedTuple):
    """Of one address; None where nothing is known and nobody is asked, or it is ours."""

    own_server: Judgement | None
    our_servers: Judgement | None


NOTHING_TO_JUDGE = Acceptance(None, None)


class Question(NamedTuple):
    """`host` is the address's own server, "" where none is known."""

    address: str
    primary: str
    host: str = ""

    @property
    def domain(self) -> str:
        return split_address(self.address)[1]

    @property
    def own_domain(self) -> str:
        return split_address(self.primary)[1]


def judge_address(user: User, address: str, host: str = "") -> Acceptance:
    return judge([Question(address, user.primary_address, host)])[0]


def judge_list(user: User, listing: Iterable[ListedAddress]) -> dict[str, Acceptance]:
    """Of each outside address in the list."""
    questions = [
        Question(listed.address, user.primary_address, _host(listed.row))
        for listed in listing
        if not listed.is_own
    ]
    return {
        question.address: judged
        for question, judged in zip(questions, judge(questions), strict=True)
    }


def _host(row: SendAs | None) -> str:
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    return msa.host if msa else ""


def judge(questions: Iterable[Question]) -> list[Acceptance]:
    """In their order, with one query for all of them."""
    asked = list(questions)
    known = known_domains({name for each in asked for name in (each.domain, each.own_domain)})
    return [_judge(each, known) for each in asked]


def _judge(question: Question, known: Mapping[str, MailDomain]) -> Acceptance:
    if question.domain == question.own_domain:
        return NOTHING_TO_JUDGE
    return Acceptance(_own_server(question, known), _our_servers(question, known))


def _own_server(question: Question, known: Mapping[str, MailDomain]) -> Judgement | None:
    words = {"domain": question.domain, "host": question.host}
    said = known.get(question.domain)
    if said is None:
        return _not_known(words)
    spf = said.spf.get(question.host, "") if question.host else ""
    if spf == "pass":
        text = _(
            "%(domain)s names %(host)s as a server for its mail (SPF): expect it to be accepted."
        )
        return Judgement(Kind.EXPECTED, text % words)
    if spf == "permerror":
        text = _(
            "The record in which %(domain)s names its servers (SPF) has a mistake, so receivers "
            "may distrust all its mail. Its administrator can mend it."
        )
        return Judgement(Kind.AT_RISK, text % words)
    if said.policy in STRICT:
        text = _(
            "%(domain)s has its mail checked strictly (DMARC), and usually its own server meets "
            "that. It can't be seen from here: send a first message to another mailbox of yours."
        )
        return Judgement(Kind.UNKNOWN, text % words)
    return _nothing_refused(words)


def _our_servers(question: Question, known: Mapping[str, MailDomain]) -> Judgement | None:
    words = {"domain": question.domain, "own": question.own_domain}
    said, ours = known.get(question.domain), known.get(question.own_domain)
    if said is None:
        return _not_known(words)
    spf = ours.spf.get("", "") if ours else ""
    if spf in {"fail", "softfail", "permerror"}:
        text = _(
            "%(own)s does not name our servers in its own record (SPF), so receivers may distrust "
            "what they carry. Your administrator can mend it."
        )
        return Judgement(Kind.AT_RISK, text % words)
    if said.policy in STRICT and _belong_together(said, ours, question.own_domain):
        return _related(said, spf, words)
    if said.policy == Policy.REJECT:
        text = _(
            "%(domain)s tells receivers to reject mail that its own servers did not send (DMARC): "
            "expect most of it to be refused."
        )
        return Judgement(Kind.REFUSED, text % words)
    if said.policy == Policy.QUARANTINE:
        text = _(
            "%(domain)s tells receivers to treat mail as suspicious that its own servers did not "
            "send (DMARC): expect most of it among the spam."
        )
        return Judgement(Kind.AT_RISK, text % words)
    return _nothing_refused(words)


def _belong_together(said: MailDomain, ours: MailDomain | None, own_domain: str) -> bool:
    """Whether our domain can vouch for theirs; it never equals it, as strict alignment wants."""
    organisation = ours.organisational_domain if ours else own_domain
    related = said.organisational_domain == organisation
    return related and not (said.strict_spf and said.strict_dkim)


def _related(said: MailDomain, spf: str, words: Mapping[str, str]) -> Judgement:
    if spf == "pass" and not said.strict_spf:
        text = _(
            "%(domain)s belongs together with %(own)s, which names our servers (SPF): expect it to "
            "be accepted."
        )
        return Judgement(Kind.EXPECTED, text % words)
    text = _(
        "%(domain)s has its mail checked strictly (DMARC). It belongs together with %(own)s, so "
        "our servers may meet that: send a first message to another mailbox of yours."
    )
    return Judgement(Kind.UNKNOWN, text % words)


def _nothing_refused(words: Mapping[str, str]) -> Judgement:
    text = _(
        "%(domain)s does not ask receivers to refuse anything (DMARC): expect it to be accepted."
    )
    return Judgement(Kind.EXPECTED, text % words)


def _not_known(words: Mapping[str, str]) -> Judgement | None:
    if not settings.OUTGATE_FIND_SETTINGS:
        return None
    text = _(
        "Whether receivers accept it is not known yet: %(domain)s has not told its rules. It is "
        "asked again by itself."
    )
    return Judgement(Kind.UNKNOWN, text % words)
