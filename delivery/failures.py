"""What a mail program hears when the responsible server did not take the message.

The first words say what is so, the last what to do; a mail server's own reply stands between.
"""

from delivery.routing import Route, RouteKind
from smtp.client import FailureKind, SmtpFailure, Step
from smtp.reply import Reply

NOTHING_SENT = "Nothing was sent, by this server or another."

CERTIFICATES = {
    FailureKind.CERTIFICATE_NAME: "shows a certificate for another name",
    FailureKind.CERTIFICATE_EXPIRED: "shows an expired certificate",
    FailureKind.CERTIFICATE_UNKNOWN: "shows a certificate of an unknown authority",
    FailureKind.TLS_NOT_OFFERED: "offers no encryption",
    FailureKind.TLS_VERSION: "speaks an outdated kind of TLS only",
}
# Up to here it is the server that does not work; behind it, it judges the message.
BEFORE_THE_MESSAGE = {
    Step.POOL, Step.RESOLVE, Step.CONNECT, Step.GREETING, Step.EHLO, Step.STARTTLS, Step.TLS,
    Step.AUTH,
}  # fmt: skip
REFUSALS = {FailureKind.SENDER_REFUSED, FailureKind.RECIPIENT_REFUSED, FailureKind.REFUSED}


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
    if failure.step == Step.POOL:
        return Reply(
            451, "4.4.5", f"{host} has too much to do. {NOTHING_SENT} Try again in a while."
        )
    if failure.kind == FailureKind.NOT_OFFERED and failure.reply:
        # Our own words: the server has not been asked.
        return failure.reply._replace(text=f"{failure.reply.text} ({host}). {NOTHING_SENT}")
    # What is said before EHLO is a banner: it could be that of anything.
    if failure.kind in REFUSALS and failure.reply and failure.step != Step.GREETING:
        return _pass_on(failure, failure.reply, host)
    if failure.step == Step.FINAL_DOT:
        return Reply(
            451,
            "4.4.2",
            f"{host} got the whole message and did not answer. It may have been sent: look there "
            "before you send it again.",
        )
    if failure.kind == FailureKind.AUTH_REFUSED:
        return _sign_in_refused(failure, route, from_address)
    if failure.kind in CERTIFICATES:
        text = f"{host} {CERTIFICATES[failure.kind]}. No password was sent. {NOTHING_SENT}"
        return Reply(554, "5.7.5", f"{text} {_whom_to_ask(route)}")
    if failure.permanent:
        return Reply(554, "5.4.1", f"{host} can't be used. {NOTHING_SENT} {_whom_to_ask(route)}")
    return Reply(451, "4.4.1", f"{host} can't be reached. {NOTHING_SENT} Try again in a while.")


def _pass_on(failure: SmtpFailure, reply: Reply, host: str) -> Reply:
    """The server's own words and code, and the recipient that they are about."""
    about = ""
    if failure.recipient:
        about = f"<{failure.recipient}> was refused, so nobody got the message. "
    enhanced = reply.enhanced or ("4.0.0" if reply.is_transient else "5.0.0")
    return Reply(own_code(reply), enhanced, f"{about}{host} said: {reply}")


# From our mouth these would speak of the mail program's own session: that we close it (RFC 5321
# 3.8), or that it has to sign in another way (RFC 4954 6), for which it would ask its user.
OF_THE_SESSION = {421: 451, 432: 451, 454: 451, 530: 554, 534: 554, 535: 554, 538: 554}


def own_code(reply: Reply) -> int:
    """The code under which a server's answer to the message is passed on."""
    return OF_THE_SESSION.get(reply.code, reply.code)


def _sign_in_refused(failure: SmtpFailure, route: Route, from_address: str) -> Reply:
    host = route.server.host
    if failure.reply and failure.reply.is_transient:
        return Reply(
            451, "4.7.0", f"{host} lets nobody sign in at present. {NOTHING_SENT} Try again."
        )
    if route.kind == RouteKind.GATEWAY:
        return Reply(
            554,
            "5.7.8",
            f"{host} no longer accepts the stored password for {from_address}. {NOTHING_SENT} "
            "Enter the new password under Send mail as.",
        )
    if failure.reply is None:  # it was not asked
        return Reply(
            451,
            "4.7.0",
            f"The password for our server {host} was wiped. {NOTHING_SENT} Ask your administrator.",
        )
    return Reply(
        451,
        "4.7.0",
        f"Our relay {host} refuses our sign-in. {NOTHING_SENT} Ask your administrator.",
    )


def _whom_to_ask(route: Route) -> str:
    if route.kind == RouteKind.GATEWAY:
        return "Check the server under Send mail as."
    return "Ask your administrator."
