from celery import shared_task

from accounts.models import SignInRecord


@shared_task
def forget_sign_ins() -> None:
    SignInRecord.objects.expired().delete()
