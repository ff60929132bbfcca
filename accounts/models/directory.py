from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from treebeard.mp_tree import MP_Node

from smtp.address import split_address


class Domain(models.Model):
    """One of the organisation's own mail domains, as a lower-case A-label (RFC 5890)."""

    class Kind(models.TextChoices):
        PRIMARY = "primary", _("Primary")
        SECONDARY = "secondary", _("Secondary")
        ALIAS = "alias", _("Alias of another domain")

    name = models.CharField(_("name"), max_length=253, unique=True)
    kind = models.CharField(_("kind"), max_length=9, choices=Kind.choices)
    alias_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="alias_domains",
        verbose_name=_("alias of"),
    )

    class Meta:
        verbose_name = _("domain")
        verbose_name_plural = _("domains")
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind"], condition=Q(kind="primary"), name="one_primary_domain"
            ),
            models.CheckConstraint(
                condition=Q(kind="alias", alias_of__isnull=False)
                | (~Q(kind="alias") & Q(alias_of__isnull=True)),
                name="alias_domain_names_its_target",
            ),
        ]

    def __str__(self) -> str:
        return self.name


def in_own_domains(address: str) -> bool:
    """Whether the address lies in one of the organisation's domains."""
    return Domain.objects.filter(name=split_address(address)[1]).exists()


class OrgUnit(MP_Node):
    """An organisational unit. Its ancestors are the prefixes of `path`, `steplen` characters each.

    Every write to the tree goes through accounts.services, which serialises them.
    """

    name = models.CharField(_("name"), max_length=255)
    description = models.TextField(_("description"), blank=True)

    class Meta:
        verbose_name = _("organisational unit")
        verbose_name_plural = _("organisational units")

    def __str__(self) -> str:
        return self.name

    @property
    def lineage(self) -> list[str]:
        """The paths of this unit and its ancestors, deepest first."""
        return lineage(self.path)


def lineage(path: str) -> list[str]:
    """Every prefix of `path` that is a unit's path, deepest first."""
    return [path[:end] for end in range(len(path), 0, -OrgUnit.steplen)]


def path_names(unit: OrgUnit) -> str:
    """ "yourdomain.com › Sales › Partner desk": how pages and history write a unit."""
    return join_names(OrgUnit.objects.filter(path__in=unit.lineage).order_by("path"))


def paths_by_unit(units: Iterable[OrgUnit]) -> dict[int, str]:
    """As path_names, by id, in one query."""
    lineages = {unit.pk: unit.lineage[::-1] for unit in units}
    wanted = {path for lineage in lineages.values() for path in lineage}
    known = {unit.path: unit for unit in OrgUnit.objects.filter(path__in=wanted)}
    return {pk: join_names(known[path] for path in lineage) for pk, lineage in lineages.items()}


def join_names(units: Iterable[OrgUnit]) -> str:
    return " › ".join(unit.name for unit in units)
