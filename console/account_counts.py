"""How many accounts units have with all below them, from the counts that the database keeps."""

from collections import Counter
from collections.abc import Iterable

from django.db.models import Q, Sum

from accounts.models import AccountCount
from accounts.models.directory import lineage


def accounts_with_below(tops: Iterable[str]) -> Counter[str]:
    """By unit path, for every unit at and below these paths and above them: one query."""
    below = Q(pk=None)
    for path in tops:
        below |= Q(unit__path__startswith=path)
    counts = AccountCount.objects.filter(below).values_list("unit__path")
    accounts: Counter[str] = Counter()
    for unit_path, count in counts.annotate(Sum("accounts")):
        for path in lineage(unit_path):
            accounts[path] += count
    return accounts
