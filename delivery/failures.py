"""What a mail program hears when the responsible server did not take the message.

The first words say what is so, the last what to do; a mail server's own reply stands between.
"""

from enum import StrEnum

from django.utils.translation import gettext_noop as _

from delivery.routing import Route, RouteKind
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply


class Sentence(StrEnum):
    """All that we say ourselves; delivery/reply_words.py finds it again in a stored reply."""

    BUSY = _("%(host)s has too much to do.")
    NO_ANSWER = _(
        "%(host)s got the whole message and did not answer. It may have been sent: look there "
        "before you send it again."
    )
    RECIPIENT = _("<%(recipient)s> was refused, so nobody got the message.")
    SAID = _("%(host)s said: %(reply)s")
    SIGN_IN_CLOSED = _("%(host)s lets nobody sign in at present.")
    PASSWORD_REFUSED = _("%(host)s no longer accepts the stored password for %(address)s.")
    OUR_PASSWORD_WIPED = _("The password for our server %(host)s was wiped.")
    OUR_SIGN_IN_REFUSED = _("Our relay %(host)s refuses our sign-in.")
    OTHER_NAME = _("%(host)s shows a certificate for another name.")
    EXPIRED = _("%(host)s shows an expired certificate.")
    UNKNOWN_AUTHORITY = _("%(host)s shows a certificate of an unknown authority.")
    NO_TLS = _("%(host)s offers no encryption.")
    OLD_TLS = _("%(host)s speaks an outdated kind of TLS only.")
    UNUSABLE = _("%(host)s can't be used.")
    UNREACHABLE = _("%(host)s can't be reached.")
    # As smtp.client says it, which knows English only; a test holds them together.
    NO_8BIT = _("The next server does not take 8-bit content (%(host)s).")
    NO_UTF8 = _("The next server does not take addresses or headers beyond ASCII (%(host)s).")
    TOO_LARGE = _("The message is larger than the next server takes (%(host)s).")
    FAULT = _("Something is wrong here.")
    DATABASE_AWAY = _("Our database could not be reached.")
    RULE_CHANGED = _("The rule for this address changed meanwhile.")
    SERVER_CHANGED = _("The server of this address was changed just now.")
    UNREADABLE = _("The stored message can't be read any more. Nothing was sent. Send it again.")
    OVERDUE = _("The time for trying is over, and the last attempt came to no end.")
    NO_PASSWORD_SENT = _("No password was sent.")
    NOTHING_SENT = _("Nothing was sent, by this server or another.")
    WE_TRY_AGAIN = _("We try again.")
    TRY_LATER = _("Try again in a while.")
    TRY_AGAIN = _("Try again.")
    ENTER_PASSWORD = _("Enter the new password under Send mail as.")
    CHECK_SERVER = _("Check the server under Send mail as.")
    ASK_ADMINISTRATOR = _("Ask your administrator.")


CERTIFICATES = {
    FailureKind.CERTIFICATE_NAME: Sentence.OTHER_NAME,
    FailureKind.CERTIFICATE_EXPIRED: Sentence.EXPIRED,
    FailureKind.CERTIFICATE_UNKNOWN: Sentence.UNKNOWN_AUTHORITY,
    FailureKind.TLS_NOT_OFFERED: Sentence.NO_TLS,
    FailureKind.TLS_VERSION: Sentence.OLD_TLS,
}
# Up to here it is the server that does not work; behind it, it judges the message.
BEFORE_THE_MESSAGE = {
    Step.POOL, Step.RESOLVE, Step.CONNECT, Step.GREETING, Step.EHLO, Step.STARTTLS, Step.TLS,
    Step.AUTH,
}  # fmt: skip
REFUSALS = {FailureKind.SENDER_REFUSED, FailureKind.RECIPIENT_REFUSED, FailureKind.REFUSED}


def say(*sentences: Sentence, **values: str) -> str:
    return " ".join(sentences) % values


def server_is_broken(failure: SmtpFailure) -> bool:
    """Whether no other message would have fared better; too many at a time are no such case."""
    return failure.step in BEFORE_THE_MESSAGE and failure.step != Step.POOL


def may_pass(failure: SmtpFailure) -> bool:
    """Whether the same message may have better luck later.

    A certificate or a password may be mended; what the server says to the message is its last word.
    """
    return failure.step in BEFORE_THE_MESSAGE or not failure.permanent


def explain_failure(failure: SmtpFailure, route: Route, from_address: str) -> Reply:
    """The reply for the mail program: permanent where trying the same again can't help."""
    host = route.server.host
    nothing, later = Sentence.NOTHING_SENT, Sentence.TRY_LATER
    if failure.step == Step.POOL:
        return Reply(451, "4.4.5", say(Sentence.BUSY, nothing, later, host=host))
    if failure.kind == FailureKind.NOT_OFFERED and failure.reply:
        # Our own words: the server has not been asked.
        return failure.reply._replace(text=f"{failure.reply.text} ({host}). {nothing}")
    # What is said before EHLO is a banner: it could be that of anything.
    if failure.kind in REFUSALS and failure.reply and failure.step != Step.GREETING:
        return _pass_on(failure, failure.reply, host)
    if failure.step == Step.FINAL_DOT:
        return Reply(451, "4.4.2", say(Sentence.NO_ANSWER, host=host))
    if failure.kind == FailureKind.AUTH_REFUSED:
        return _sign_in_refused(failure, route, from_address)
    whom = _whom_to_ask(route)
    if failure.kind in CERTIFICATES:
        what = CERTIFICATES[failure.kind]
        text = say(what, Sentence.NO_PASSWORD_SENT, nothing, whom, host=host)
        return Reply(554, "5.7.5", text)
    if failure.permanent:
        return Reply(554, "5.4.1", say(Sentence.UNUSABLE, nothing, whom, host=host))
    return Reply(451, "4.4.1", say(Sentence.UNREACHABLE, nothing, later, host=host))


def _pass_on(failure: SmtpFailure, reply: Reply, host: str) -> Reply:
    """The server's own words and code, and the recipient that they are about."""
    text = say(Sentence.SAID, host=host, reply=str(reply))
    if failure.recipient:
        text = f"{say(Sentence.RECIPIENT, recipient=failure.recipient)} {text}"
    enhanced = reply.enhanced or ("4.0.0" if reply.is_transient else "5.0.0")
    return Reply(own_code(reply), enhanced, text)


# From our mouth these would speak of the mail program's own session: that we close it (RFC 5321
# 3.8), or that it has to sign in another way (RFC 4954 6), for which it would ask its user.
OF_THE_SESSION = {421: 451, 432: 451, 454: 451, 530: 554, 534: 554, 535: 554, 538: 554}


def own_code(reply: Reply) -> int:
    """The code under which a server's answer to the message is passed on."""
    return OF_THE_SESSION.get(reply.code, reply.code)


def _sign_in_refused(failure: SmtpFailure, route: Route, from_address: str) -> Reply:
    host, nothing = route.server.host, Sentence.NOTHING_SENT
    if failure.reply and failure.reply.is_transient:
        text = say(Sentence.SIGN_IN_CLOSED, nothing, Sentence.TRY_AGAIN, host=host)
        return Reply(451, "4.7.0", text)
    if route.kind == RouteKind.GATEWAY:
        what, then = Sentence.PASSWORD_REFUSED, Sentence.ENTER_PASSWORD
        return Reply(554, "5.7.8", say(what, nothing, then, host=host, address=from_address))
    was_asked = failure.reply is not None
    what = Sentence.OUR_SIGN_IN_REFUSED if was_asked else Sentence.OUR_PASSWORD_WIPED
    return Reply(451, "4.7.0", say(what, nothing, Sentence.ASK_ADMINISTRATOR, host=host))


def _whom_to_ask(route: Route) -> Sentence:
    is_own = route.kind == RouteKind.GATEWAY
    return Sentence.CHECK_SERVER if is_own else Sentence.ASK_ADMINISTRATOR
