from django.conf import settings
from django.http import HttpRequest


def installation(_request: HttpRequest) -> dict[str, bool]:
    """What every page may show of this installation: whether the demo page exists."""
    return {"demo": settings.OUTGATE_DEMO}
