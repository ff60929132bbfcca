"""The language that a person reads: chosen on any page, or the browser's at the first sign-in."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import i18n
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.services.people import choose_language


@require_POST
def set_language(request: HttpRequest) -> HttpResponseBase:
    """Django's view, which keeps a cookie; an account keeps its language for mails as well."""
    language = request.POST.get("language", "")
    if isinstance(request.user, User) and language in dict(settings.LANGUAGES):
        choose_language(request.user, language)
    return i18n.set_language(request)
