"""Where logs go, and their two forms: lines for people, or a JSON object per line."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured

FORMATTERS = {
    "text": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
    "json": {"()": "config.logs.JsonFormatter"},
}
# Whoever has such a link, and is signed in, needs no code: Django logs the path of what it refuses.
LINKS = re.compile(r"(/send-as/confirm/|/password/reset/[0-9A-Za-z]+-)[^/\s]+")


def logging_settings(*, form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. Raises ImproperlyConfigured for a form that does not exist."""
    if form not in FORMATTERS:
        raise ImproperlyConfigured(f"OUTGATE_LOG_FORMAT is {form!r}: set it to text or json.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": FORMATTERS,
        "filters": {"links": {"()": "config.logs.HideLinks"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": form,
                "filters": ["links"],
            }
        },
        # A sweep every two seconds would say so twice each time.
        "loggers": {
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
        "root": {"handlers": ["console"], "level": level},
    }


class HideLinks(logging.Filter):
    """Takes the secret part out of links that prove an address or set a new web password."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django."):
            record.msg, record.args = LINKS.sub(r"\1[hidden]", record.getMessage()), None
        return True


class JsonFormatter(logging.Formatter):
    """Time, level, logger and text of each record, and the `fields` that it came with."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
