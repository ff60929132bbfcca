from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SendAsConfig(AppConfig):
    name = "sendas"
    verbose_name = _("Send mail as")
