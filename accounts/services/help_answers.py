"""What people say of the help pages; support reads it."""

from django.db.models.functions import Now

from accounts.models import HelpAnswer, User


def record_help_answer(*, user: User, page: str, helpful: bool, comment: str) -> None:
    """Keep the answer in place of an earlier one, so that nobody can fill the list."""
    HelpAnswer.objects.update_or_create(
        user=user,
        page=page,
        defaults={"helpful": helpful, "comment": comment, "answered_at": Now()},
    )
