import uuid
from typing import ClassVar
from zlib import crc32

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import translation
from django.utils.crypto import salted_hmac
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from accounts.models.directory import OrgUnit, in_own_domains
from smtp.address import normalise_address

EXPRESS_COHORT = 0
MAX_NAME = 200  # characters of an account's name


def cohort_count() -> int:
    """How many ordinary cohorts there are: fixed in the database by the first migration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rollout_cohorts()")
        return int(cursor.fetchone()[0])


def home_cohort(user_id: uuid.UUID, count: int) -> int:
    """The cohort (1 to `count`) of an account, from a stable hash of its immutable id."""
    return crc32(user_id.bytes) % count + 1


class UserManager(BaseUserManager["User"]):
    def create_user(
        self, *, primary_address: str, name: str, unit: OrgUnit, password: str | None = None
    ) -> "User":
        user = self.model(primary_address=normalise_address(primary_address), name=name, unit=unit)
        user.cohort = home_cohort(user.id, cohort_count())
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(primary_address=(username or "").lower())


class User(AbstractBaseUser):
    """An account: a person with a primary address, in one unit, in one rollout cohort."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    primary_address = models.EmailField(
        _("primary address"),
        max_length=254,
        unique=True,
        error_messages={"unique": _("Another account has this address.")},
    )
    name = models.CharField(_("name"), max_length=MAX_NAME)
    unit = models.ForeignKey(
        OrgUnit, on_delete=models.PROTECT, related_name="users", verbose_name=_("unit")
    )
    cohort = models.SmallIntegerField(_("cohort"), editable=False)
    # Of an account that was put into the express cohort for a while: its own one.
    returns_to = models.SmallIntegerField(_("returns to cohort"), null=True, editable=False)
    suspended = models.BooleanField(_("suspended"), default=False)
    # Part of what each session is bound to: counted up, it ends all of them for good.
    session_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # Empty until the first sign-in, which brings the browser's.
    language = models.CharField(
        _("language"),
        max_length=10,
        choices=settings.LANGUAGES,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    USERNAME_FIELD = "primary_address"
    EMAIL_FIELD = "primary_address"
    REQUIRED_FIELDS = ["name"]

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ("primary_address",)
        indexes = [
            models.Index(fields=["unit", "cohort"]),
            models.Index(
                fields=["returns_to"], condition=Q(returns_to__isnull=False), name="express_guests"
            ),
        ]

    def __str__(self) -> str:
        return self.primary_address

    # Django has a column of this name; ours is derived.
    @property
    def is_active(self) -> bool:  # type: ignore[override]
        """Django's word for it: a suspended account can sign in nowhere."""
        return not self.suspended

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's, which ends sessions with a new password; ours also ends them on suspension."""
        bound_to = f"{self.password} {self.session_generation}"
        salt = "accounts.models.people.User.session"
        return salted_hmac(salt, bound_to, secret=secret, algorithm="sha256").hexdigest()

    def reads(self) -> translation.override:
        """Texts in this person's language, whoever causes them: `with user.reads(): ...`."""
        return translation.override(self.language or settings.LANGUAGE_CODE)

    @cached_property
    def role_names(self) -> frozenset[str]:
        """The roles that hold: to administer takes a primary address in an own domain."""
        names = frozenset(self.roles.values_list("role", flat=True))
        for_everybody = names & {RoleAssignment.Role.SUPPORT}
        inside = names == for_everybody or in_own_domains(self.primary_address)
        return names if inside else for_everybody

    @property
    def is_super_admin(self) -> bool:
        return RoleAssignment.Role.SUPER_ADMIN in self.role_names

    @property
    def is_admin(self) -> bool:
        """May open the admin console, for at least one unit."""
        return self.is_super_admin or RoleAssignment.Role.UNIT_ADMIN in self.role_names

    @property
    def is_staff(self) -> bool:
        """Django admin's word for it: may open /support/."""
        return self.is_super_admin or RoleAssignment.Role.SUPPORT in self.role_names

    def has_perm(self, perm: str, _obj: object = None) -> bool:
        """Support staff see; super administrators also change what an admin page lets change."""
        if self.suspended or not self.is_staff:
            return False
        return self.is_super_admin or perm.partition(".")[2].startswith("view_")

    def has_module_perms(self, _app_label: str) -> bool:
        return self.is_active and self.is_staff

    @property
    def initials(self) -> str:
        return "".join(word[0] for word in self.name.split()[:2]).upper()


class AccountCount(models.Model):
    """How many accounts a unit has in a cohort. Only the database's triggers write it.

    Counted afresh, a million accounts cost each page 64 ms of two cores, and ten million ten times
    that; read from here, 5 ms.
    """

    unit = models.ForeignKey(OrgUnit, on_delete=models.CASCADE, related_name="+")
    cohort = models.SmallIntegerField()
    accounts = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["unit", "cohort"], name="one_count")]

    def __str__(self) -> str:
        return f"{self.unit_id}/{self.cohort}: {self.accounts}"


class Alias(models.Model):
    """A further address of an account inside the organisation's own domains."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="aliases", verbose_name=_("account")
    )
    address = models.EmailField(_("address"), max_length=254, unique=True)

    class Meta:
        verbose_name = _("alias")
        verbose_name_plural = _("aliases")
        ordering = ("address",)

    def __str__(self) -> str:
        return self.address


class Privilege(models.TextChoices):
    """What an administrator of a unit may do there and below: one or more of these."""

    MAIL_SETTINGS = "mail_settings", _("Mail settings")
    USERS = "users", _("Users")
    REPORTS = "reports", _("Reports")


class RoleAssignment(models.Model):
    """What an account may do besides its own mail; `unit` bounds a unit administrator."""

    class Role(models.TextChoices):
        SUPER_ADMIN = "super_admin", _("Super administrator")
        UNIT_ADMIN = "unit_admin", _("Administrator of a unit and below")
        SUPPORT = "support", _("Support")

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="roles", verbose_name=_("account")
    )
    role = models.CharField(_("role"), max_length=11, choices=Role.choices)
    unit = models.ForeignKey(
        OrgUnit, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("unit")
    )
    privileges = ArrayField(
        models.CharField(max_length=13, choices=Privilege.choices),
        verbose_name=_("privileges"),
        default=list,
        blank=True,
    )

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "role", "unit"], nulls_distinct=False, name="role_once"
            ),
            models.CheckConstraint(
                condition=Q(role="unit_admin", unit__isnull=False, privileges__len__gt=0)
                | (~Q(role="unit_admin") & Q(unit__isnull=True, privileges__len=0)),
                name="unit_administrator_has_unit_and_privileges",
                violation_error_message=_(
                    "An administrator of a unit needs the unit and at least one privilege; the "
                    "other roles have neither."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.get_role_display()

    @property
    @admin.display(description=_("privileges"))
    def privileges_text(self) -> str:
        """Their names in the order in which they are always told."""
        return ", ".join(str(each.label) for each in Privilege if each in self.privileges)
