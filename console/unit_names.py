"""Units as people type them: by name, or with the names of those above."""

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.models.directory import path_names

MOST_NAMED = 5


def unit_called(text: str, units: QuerySet[OrgUnit]) -> OrgUnit:
    """The one of `units` with that name, alone or behind those of all units above it.

    Raise ValidationError where there is none, or several.
    """
    *_above, name = (part.strip() for part in text.split("›"))
    found = list(units.filter(name__iexact=name).order_by("path")[: MOST_NAMED + 1])
    if "›" in text or len(found) > 1:
        paths = {unit: path_names(unit) for unit in found}
        exact = [unit for unit, path in paths.items() if path.lower() == text.lower()]
        if not exact and len(found) > 1:
            raise ValidationError(
                _("Several units are called so. Type one of these: %(paths)s"),
                params={"paths": "; ".join(list(paths.values())[:MOST_NAMED])},
            )
        found = exact
    if not found:
        raise ValidationError(_("No unit is called “%(name)s”."), params={"name": text})
    return found[0]
