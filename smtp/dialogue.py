"""The server's side of the SMTP dialogue: one method per verb, no socket, no clock, no waiting."""

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from smtp import sasl
from smtp.command import (
    Chunk,
    Command,
    CommandError,
    parse_bdat,
    parse_command,
    parse_mail,
    parse_rcpt,
)
from smtp.reply import Reply
from smtp.session import Envelope, Limits, Session


class Action(Enum):
    """What the connection does after the reply."""

    CONTINUE = auto()
    QUIT = auto()  # the client is done
    HANG_UP = auto()  # the client has gone too far: nothing more of it is read
    STARTTLS = auto()
    AUTHENTICATE = auto()  # no reply yet; `Dialogue.take_credentials` has what to check
    CONTENT = auto()
    CHUNK = auto()  # no reply yet; `Dialogue.chunk` says what follows


class Outcome(NamedTuple):
    reply: Reply | None
    action: Action = Action.CONTINUE


OK = Reply(250, "2.0.0", "OK")
CLOSING = Reply(421, "4.3.2", "The service is being restarted: try again in a minute")
TOO_MANY_RECIPIENTS = Outcome(
    Reply(452, "4.5.3", "A message takes no more recipients: send another")
)
TOO_MANY_ERRORS = Outcome(Reply(421, "4.7.0", "Too many errors"), Action.HANG_UP)
TALKS_TOO_EARLY = Outcome(
    Reply(554, "5.5.0", "Wait for the reply before you go on"), Action.HANG_UP
)
NO_RECIPIENTS = Reply(503, "5.5.1", "MAIL and RCPT come before the message")
CHUNKS_HAVE_BEGUN = Outcome(Reply(503, "5.5.1", "What BDAT has begun, BDAT LAST ends, or RSET"))
NO_SMTP = Outcome(Reply(554, "5.5.0", "This is an SMTP server"), Action.HANG_UP)

_HTTP = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PATCH", "DELETE", "TRACE", "HOST:"}
# Nothing may follow these before their reply (RFC 2920 3.1, RFC 3207 4).
_LAST_IN_GROUP = {"EHLO", "HELO", "DATA", "STARTTLS"}
_JUNK = {"EHLO", "HELO", "NOOP", "RSET", "VRFY", "HELP"}
# Only these are logged with their argument: a password typed in the wrong place would be one of the
# others.
_LOGGED = {"EHLO", "HELO", "MAIL", "RCPT"}


class Dialogue:
    """What has been said on one connection, and what may be said next."""

    def __init__(self, session: Session, *, hostname: str, limits: Limits) -> None:
        self.session = session
        self.envelope: Envelope | None = None
        self.errors = 0
        self._hostname = hostname
        self._limits = limits
        self._junk = 0
        self._excess = 0
        self._auth_failures = 0
        self.chunk = Chunk(0, is_last=False)
        self._in_chunks = False
        self._exchange: sasl.Exchange | None = None
        self._verbs: dict[str, Callable[[bytes], Outcome]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
            "NOOP": lambda _: Outcome(OK),
            "HELP": lambda _: Outcome(Reply(214, "2.0.0", "See RFC 5321 and RFC 6409")),
            "VRFY": self._vrfy,
            "QUIT": lambda _: Outcome(Reply(221, "2.0.0", "Goodbye"), Action.QUIT),
        }

    def greeting(self) -> Reply:
        return Reply(220, "", f"{self._hostname} ESMTP")

    def line_limit(self, start: bytes) -> int:
        """How long the line that begins with `start` may be, CRLF included."""
        is_auth = self._exchange is not None or start[:5].upper() == b"AUTH "
        return self._limits.auth_line if is_auth else self._limits.command_line

    def loggable(self, line: bytes) -> str:
        """The line without anything that could be a credential."""
        verb = parse_command(line).verb
        if self._exchange is not None or verb not in self._verbs:
            return "(not logged)"
        return ascii(line.decode("latin-1")) if verb in _LOGGED else verb

    def take(self, line: bytes, *, is_last: bool) -> Outcome:
        """Answer one line (without CRLF); `is_last` says that nothing has arrived behind it."""
        if self._exchange is not None:
            return self._counted(self._answer(self._exchange, line))
        command = parse_command(line)
        if command.verb in _HTTP:
            return NO_SMTP
        if not is_last and (not self.session.helo or command.verb in _LAST_IN_GROUP):
            return TALKS_TOO_EARLY
        if command.verb in _JUNK:
            self._junk += 1
            if self._junk > self._limits.junk_commands:
                return TOO_MANY_ERRORS
        return self._counted(self._execute(command))

    def refuse_chunk(self) -> Reply | None:
        """Why the octets that `chunk` announces are in vain, if they are."""
        return None if self.envelope and self.envelope.recipients else NO_RECIPIENTS

    def take_credentials(self) -> tuple[str, str]:
        """User name and password of the exchange that has just ended; they are forgotten here."""
        exchange, self._exchange = self._exchange, None
        if exchange is None or exchange.credentials is None:
            raise RuntimeError("no sign-in is under way")
        return exchange.credentials

    def sign_in(self, account: object) -> Outcome:
        """The credentials were right."""
        self.session.account = account
        return Outcome(Reply(235, "2.7.0", "Signed in"))

    def refuse_sign_in(self, reply: Reply) -> Outcome:
        """The credentials were wrong (5xx), or could not be checked (4xx: no failure)."""
        self._auth_failures += reply.is_permanent
        if self._auth_failures >= self._limits.auth_failures:
            return Outcome(Reply(421, "4.7.0", "Too many sign-ins that failed"), Action.HANG_UP)
        return self._counted(Outcome(reply))

    def start_tls(self, version: str) -> None:
        """The connection is encrypted now: nothing said before counts (RFC 3207 4.2)."""
        self.session.tls = version
        self.session.helo = ""
        self.session.account = None
        self.envelope = None

    def end_message(self, reply: Reply) -> Outcome:
        """The client's final dot has been answered by `reply`."""
        self.envelope = None
        if reply.is_positive:
            self._junk = 0
        return self._counted(Outcome(reply))

    def _counted(self, outcome: Outcome) -> Outcome:
        if outcome is TOO_MANY_RECIPIENTS:
            self._excess += 1
        elif outcome.reply and not outcome.reply.is_positive:
            self.errors += 1
        limits = self._limits
        if self.errors > limits.errors or self._excess > limits.recipients_in_excess:
            return TOO_MANY_ERRORS
        return outcome

    def _execute(self, command: Command) -> Outcome:
        method = self._verbs.get(command.verb)
        if method is None:
            return Outcome(Reply(500, "5.5.2", "This command is not known here"))
        try:
            return method(command.argument)
        except CommandError as error:
            return Outcome(error.reply)

    def _ehlo(self, argument: bytes) -> Outcome:
        self._greet(argument)
        extensions = [
            "PIPELINING",
            f"SIZE {self._limits.message_size}",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
            f"AUTH {' '.join(sasl.MECHANISMS)}" if self.session.tls else "STARTTLS",
        ]
        return Outcome(Reply(250, "", "\n".join([self._hostname, *extensions])))

    def _helo(self, argument: bytes) -> Outcome:
        self._greet(argument)
        return Outcome(Reply(250, "", self._hostname))

    def _greet(self, argument: bytes) -> None:
        name = argument.decode("ascii", "replace")
        if not name or not name.isprintable() or " " in name:
            raise CommandError(Reply(501, "5.5.4", "Write your host name behind EHLO"))
        self.session.helo = name
        self.envelope = None

    def _starttls(self, argument: bytes) -> Outcome:
        if argument:
            return Outcome(Reply(501, "5.5.4", "STARTTLS stands alone"))
        if self.session.tls:
            return Outcome(Reply(503, "5.5.1", "The connection is encrypted already"))
        return Outcome(Reply(220, "2.0.0", "Start TLS now"), Action.STARTTLS)

    def _auth(self, argument: bytes) -> Outcome:
        if not self.session.tls:
            return Outcome(Reply(538, "5.7.11", "Use STARTTLS before you sign in"))
        if not self.session.helo or self.session.account is not None or self.envelope:
            return Outcome(Reply(503, "5.5.1", "AUTH comes once, behind EHLO and before MAIL"))
        mechanism, _, initial = argument.partition(b" ")
        exchange = sasl.EXCHANGES.get(mechanism.decode("ascii", "replace").upper())
        if exchange is None:
            return Outcome(Reply(504, "5.5.4", "Use AUTH PLAIN or AUTH LOGIN"))
        self._exchange = exchange()
        return self._answer(self._exchange, initial.strip(b" ") or None)

    def _answer(self, exchange: sasl.Exchange, answer: bytes | None) -> Outcome:
        """One step of AUTH (RFC 4954 4); the exchange stays until its credentials are taken."""
        try:
            if answer == b"*":
                raise sasl.SaslError("You have ended the sign-in")
            challenge = exchange.step(None if answer is None else sasl.decode(answer))
        except sasl.SaslError as error:
            self._exchange = None
            return Outcome(Reply(501, "5.5.2", str(error)))
        if exchange.credentials:
            return Outcome(None, Action.AUTHENTICATE)
        return Outcome(Reply(334, "", sasl.encode(challenge).decode("ascii")))

    def _mail(self, argument: bytes) -> Outcome:
        if not self.session.helo:
            return Outcome(Reply(503, "5.5.1", "Say EHLO first"))
        if self.session.account is None:
            how = "Sign in with AUTH first" if self.session.tls else "Use STARTTLS and AUTH first"
            return Outcome(Reply(530, "5.7.0", how))
        if self.envelope:
            return Outcome(Reply(503, "5.5.1", "A message is under way: end it, or use RSET"))
        self.envelope = parse_mail(argument, message_size=self._limits.message_size)
        self._in_chunks = False
        return Outcome(Reply(250, "2.1.0", "OK"))

    def _rcpt(self, argument: bytes) -> Outcome:
        if not self.envelope:
            return Outcome(Reply(503, "5.5.1", "MAIL comes before RCPT"))
        if self._in_chunks:
            return CHUNKS_HAVE_BEGUN
        recipient = parse_rcpt(argument, smtputf8=self.envelope.smtputf8)
        if len(self.envelope.recipients) >= self._limits.recipients:
            return TOO_MANY_RECIPIENTS
        self.envelope.recipients.append(recipient)
        return Outcome(Reply(250, "2.1.5", "OK"))

    def _data(self, argument: bytes) -> Outcome:
        if argument:
            return Outcome(Reply(501, "5.5.4", "DATA stands alone"))
        if not self.envelope or not self.envelope.recipients:
            return Outcome(NO_RECIPIENTS)
        if self._in_chunks:
            return CHUNKS_HAVE_BEGUN
        return Outcome(
            Reply(354, "", "Send the message; end it with a dot on a line of its own"),
            Action.CONTENT,
        )

    def _bdat(self, argument: bytes) -> Outcome:
        """Octets follow whatever we answer, so the answer comes behind them (RFC 3030 2)."""
        if self.session.account is None:
            return Outcome(Reply(530, "5.7.0", "Sign in with AUTH first"), Action.HANG_UP)
        try:
            self.chunk = parse_bdat(argument)
        except CommandError as error:
            # Where the next command begins is unknown.
            return Outcome(error.reply, Action.HANG_UP)
        self._junk += not (self.chunk.size or self.chunk.is_last)
        if self._junk > self._limits.junk_commands:
            return TOO_MANY_ERRORS
        self._in_chunks = True
        return Outcome(None, Action.CHUNK)

    def _rset(self, argument: bytes) -> Outcome:
        if argument:
            return Outcome(Reply(501, "5.5.4", "RSET stands alone"))
        self.envelope = None
        return Outcome(OK)

    def _vrfy(self, _: bytes) -> Outcome:
        return Outcome(Reply(252, "2.5.0", "Send the message, and see"))
