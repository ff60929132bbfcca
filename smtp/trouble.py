"""What a client hears when something goes wrong that no command of its is the reason for."""

import logging
import traceback

from smtp.reply import Reply
from smtp.session import Session

log = logging.getLogger("smtp.server")

FAULT = Reply(451, "4.3.0", "Something is wrong here: try again later")
BARE_LINE = Reply(554, "5.6.0", "Lines end with CRLF, and CR, LF and NUL stand nowhere else")
TOO_SLOW = Reply(421, "4.4.2", "The connection was quiet for too long")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections from your address")


def log_fault(session: Session, error: Exception) -> None:
    """Log where it happened, never its text, which may hold content or a credential."""
    frames = traceback.extract_tb(error.__traceback__)
    where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
    name, extra = type(error).__name__, session.for_log
    log.error("session %s: %s at %s", session.id, name, where, extra=extra)
