from django.db import models
from django.db.models.functions import Now

from accounts.models import User


class ApprovalMailQuerySet(models.QuerySet["ApprovalMail"]):
    def due(self) -> "ApprovalMailQuerySet":
        return self.filter(next_try_at__lte=Now())


class ApprovalMail(models.Model):
    """What an administrator has been told of the servers that wait for approval.

    Those that wait since `told_until` or longer are no news. Nobody is mailed before `next_try_at`.
    """

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="approval_mail"
    )
    told_until = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(db_default=Now())

    objects = ApprovalMailQuerySet.as_manager()

    def __str__(self) -> str:
        return str(self.user_id)
