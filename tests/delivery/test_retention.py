"""What the delivery log forgets, and when."""

from datetime import timedelta

import pytest
from django.utils import timezone

from delivery.models import Delivery, DeliveryRecipient, LimitReport
from delivery.retention import BATCH, _delete_recipients
from delivery.tasks import forget_deliveries


def log(*days, recipients=2):
    """A delivery for each number of days ago, the oldest logged first as in life."""
    made = [
        Delivery(
            account_address="user@yourdomain.com",
            state=Delivery.State.DELIVERED,
            created_at=timezone.now() - timedelta(days=number),
        )
        for number in sorted(days, reverse=True)
    ]
    Delivery.objects.bulk_create(made)
    DeliveryRecipient.objects.bulk_create(
        DeliveryRecipient(delivery=delivery, address=f"{number}@customer.example")
        for delivery in made
        for number in range(recipients)
    )


def kept():
    """Days ago, and how many recipients are left."""
    return [
        ((timezone.now() - delivery.created_at).days, delivery.recipients.count())
        for delivery in Delivery.objects.all()
    ]


def test_recipients_go_after_thirty_days_and_deliveries_after_a_hundred_and_eighty(db):
    log(0, 29, 31, 179, 181)
    forget_deliveries()
    assert kept() == [(0, 2), (29, 2), (31, 0), (179, 0)]
    forget_deliveries()
    assert len(kept()) == 4


def test_the_settings_say_how_long(db, settings):
    settings.OUTGATE_DELIVERY_LOG_DAYS = 10
    settings.OUTGATE_RECIPIENT_LOG_DAYS = 20
    log(0, 9, 11)
    forget_deliveries()
    assert kept() == [(0, 2), (9, 2)]
    assert DeliveryRecipient.objects.count() == 4


def test_it_goes_on_batch_by_batch(db):
    log(*[200] * (BATCH + 5), 1, recipients=3)
    assert _delete_recipients(timedelta(days=30)) == BATCH
    forget_deliveries()
    assert kept() == [(1, 3)]


def test_one_young_delivery_among_old_ones_keeps_its_recipients(db):
    log(40, 31)
    Delivery.objects.filter(created_at__lt=timezone.now() - timedelta(days=35)).update(
        created_at=timezone.now()
    )
    forget_deliveries()
    assert kept() == [(0, 2), (31, 0)]


@pytest.mark.parametrize(("days", "left"), [(179, 1), (181, 0)])
def test_reports_of_limits_go_with_the_log(owner, days, left):
    moment = timezone.now() - timedelta(days=days)
    LimitReport.objects.create(
        account=owner, day=moment.date(), window="hour", limit=500, reached_at=moment
    )
    forget_deliveries()
    assert LimitReport.objects.count() == left
