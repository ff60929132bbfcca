"""How a test of an outside server can end, and what its owner is told for each end."""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from sendas.services.providers import provider_behind
from sendas.services.sign_in_replies import Refusal, judge_refusal
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply


class TestStep(IntEnum):
    """How far a test came; each needs the one before."""

    __test__ = False  # no test case, whatever its name says to pytest

    NOT_TRIED = 0
    NAME = 1
    ANSWER = 2
    CERTIFICATE = 3
    SIGN_IN = 4
    SENDER = 5


class ConnectionTestError(Exception):
    """The server can't be used as typed: `field` of the form, `text` for its owner.

    `step` is where the test ended. `reply` quotes the server, only where it is known to be a mail
    server. `topic` is where the help says more. `is_refusal`: the server said for good that it
    does not take the password.
    """

    is_refusal = False

    def __init__(
        self, step: TestStep, field: str, text: str, *, reply: str = "", topic: str = ""
    ) -> None:
        super().__init__(text)
        self.step = step
        self.field = field
        self.text = text
        self.reply = reply
        self.topic = topic


class Outcome(NamedTuple):
    """One way a test ends. `topic` is its paragraph on the help page about errors."""

    step: TestStep
    field: str
    topic: str
    text: Promise | str


# Lost and silent servers have the text of NOT_A_MAIL_SERVER: whether a port is closed or filtered
# is nobody's business.
UNREACHABLE = {
    FailureKind.NO_PUBLIC_ADDRESS: Outcome(
        TestStep.NAME,
        "host",
        "no-server",
        _("No public server has the name %(host)s. Check its spelling."),
    ),
    FailureKind.PORT_NOT_ALLOWED: Outcome(
        TestStep.NAME,
        "port",
        "forbidden",
        _(
            "Your administrator does not allow port %(port)s. Mail servers take mail on 587 or "
            "465: ask the provider of the address for one of these."
        ),
    ),
    FailureKind.NOT_A_MAIL_SERVER: Outcome(
        TestStep.ANSWER,
        "host",
        "no-mail-server",
        _(
            "No mail server answers like that at %(host)s, port %(port)s. Compare server, port "
            "and encryption with what the provider of the address tells you."
        ),
    ),
    FailureKind.TLS_NOT_OFFERED: Outcome(
        TestStep.ANSWER,
        "security_mode",
        "no-encryption",
        _(
            "%(host)s offers no encryption on port %(port)s. Your password was not sent. Try port "
            "465 with TLS from the start."
        ),
    ),
    FailureKind.TLS_VERSION: Outcome(
        TestStep.CERTIFICATE,
        "host",
        "old-encryption",
        _(
            "%(host)s only speaks an outdated kind of TLS. Your password was not sent. Ask its "
            "provider for a server with TLS %(least_tls)s or later."
        ),
    ),
    FailureKind.CERTIFICATE_NAME: Outcome(
        TestStep.CERTIFICATE,
        "host",
        "certificate-name",
        _(
            "The certificate of this server is for another name than %(host)s. Your password was "
            "not sent. Use the name that its provider gives you."
        ),
    ),
    FailureKind.CERTIFICATE_EXPIRED: Outcome(
        TestStep.CERTIFICATE,
        "host",
        "certificate-expired",
        _(
            "The certificate of %(host)s has expired. Your password was not sent. Ask its "
            "provider to renew it."
        ),
    ),
    FailureKind.CERTIFICATE_UNKNOWN: Outcome(
        TestStep.CERTIFICATE,
        "host",
        "certificate-unknown",
        _(
            "The certificate of %(host)s comes from an authority that is not known here. Your "
            "password was not sent. Ask its provider, or your administrator."
        ),
    ),
    FailureKind.AUTH_NOT_OFFERED: Outcome(
        TestStep.SIGN_IN,
        "port",
        "no-sign-in",
        _(
            "%(host)s lets nobody sign in on port %(port)s. Your password was not sent. Try port "
            "587 or 465."
        ),
    ),
}
REFUSED = {
    Refusal.WRONG_PASSWORD: Outcome(
        TestStep.SIGN_IN,
        "password",
        "wrong-password",
        _(
            "%(host)s does not accept this user name and password. Type them again; some "
            "providers want an app password here."
        ),
    ),
    Refusal.APP_PASSWORD: Outcome(
        TestStep.SIGN_IN,
        "password",
        "app-password",
        _(
            "%(host)s wants an app password, not the password of the account. Create one in the "
            "provider's settings, and type it here."
        ),
    ),
    Refusal.PASSWORDS_OFF: Outcome(
        TestStep.SIGN_IN,
        "password",
        "passwords-off",
        _(
            "%(host)s takes no passwords for this mailbox, so another one won't help. Ask the "
            "administrator of the address to turn on SMTP sign-in, or choose “By our servers”."
        ),
    ),
    Refusal.PUT_OFF: Outcome(
        TestStep.SIGN_IN,
        "password",
        "put-off",
        _(
            "%(host)s can't check passwords at the moment. Type the password again in a few "
            "minutes."
        ),
    ),
}
STOPPED_ANSWERING = Outcome(
    TestStep.SIGN_IN,
    "host",
    "put-off",
    _(
        "%(host)s is a mail server, but stopped answering at the sign-in. Test again in a few "
        "minutes."
    ),
)
SENDER_REFUSED = Outcome(
    TestStep.SENDER,
    "username",
    "sender-refused",
    _(
        "%(host)s accepts the password, but takes no mail from %(address)s. Sign in with the user "
        "name that %(address)s belongs to, or ask its provider to allow the address."
    ),
)
SENDER_PUT_OFF = Outcome(
    TestStep.SENDER,
    "host",
    "put-off",
    _(
        "%(host)s accepts the password, but takes no mail from %(address)s at the moment. Test "
        "again in a few minutes."
    ),
)
OUR_OWN = Outcome(
    TestStep.NAME,
    "host",
    "forbidden",
    _(
        "That is this organisation's own server. It carries mail from this address without "
        "anything to set up: choose “By our servers”."
    ),
)
# Where the help has a paragraph; its page is checked against this.
TOPICS = dict.fromkeys(
    outcome.topic
    for outcome in (*UNREACHABLE.values(), *REFUSED.values(), STOPPED_ANSWERING, SENDER_REFUSED)
)


def explain_outcome(
    failure: SmtpFailure, *, host: str, port: int, address: str, least_tls: str
) -> ConnectionTestError:
    """The words for the way a test ended, by the field that the person has to look at."""
    about = {"host": host, "port": port, "address": address, "least_tls": least_tls}
    outcome = _outcome_of(failure)
    quoted = outcome.step >= TestStep.SIGN_IN and failure.reply
    error = told(outcome, about, reply=str(failure.reply) if quoted else "")
    error.is_refusal = failure.kind is FailureKind.AUTH_REFUSED and failure.permanent
    provider = provider_behind(host)
    if outcome is REFUSED[Refusal.WRONG_PASSWORD] and provider and provider.hint:
        # Most of these say "wrong" of a right password that is no app password.
        error.text = f"{error.text} {provider.name}: {provider.hint}"
    return error


def explain_check(
    kind: str, *, host: str, port: int, address: str, least_tls: str
) -> ConnectionTestError:
    """The words for a check of the stored password that failed by this FailureKind."""
    failure = FailureKind(kind)
    step = Step.AUTH if failure is FailureKind.AUTH_REFUSED else Step.CONNECT
    return explain_outcome(
        SmtpFailure(failure, step), host=host, port=port, address=address, least_tls=least_tls
    )


def told(outcome: Outcome, about: Mapping[str, object], *, reply: str = "") -> ConnectionTestError:
    return ConnectionTestError(
        outcome.step, outcome.field, str(outcome.text) % about, reply=reply, topic=outcome.topic
    )


def _outcome_of(failure: SmtpFailure) -> Outcome:
    if failure.step is Step.MAIL:
        return _outcome_for_sender(failure.reply)
    if failure.kind is FailureKind.AUTH_REFUSED and failure.reply:
        return REFUSED[judge_refusal(failure.reply)]
    if failure.kind in UNREACHABLE:
        return UNREACHABLE[failure.kind]
    if failure.step is Step.AUTH:
        return STOPPED_ANSWERING
    return UNREACHABLE[FailureKind.NOT_A_MAIL_SERVER]


def _outcome_for_sender(reply: Reply | None) -> Outcome:
    return SENDER_REFUSED if reply and reply.is_permanent else SENDER_PUT_OFF
