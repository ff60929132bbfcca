from typing import Any

from django.conf import settings
from django.http import HttpRequest


def installation(_request: HttpRequest) -> dict[str, Any]:
    """What every page may show of this installation: its languages, and whether it is a demo."""
    return {"demo": settings.OUTGATE_DEMO, "languages": settings.LANGUAGES}
