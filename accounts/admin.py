"""The support pages: everything can be looked up, nothing is changed but by named actions."""

from typing import TYPE_CHECKING, Any, ClassVar

import allauth.account.admin
import allauth.mfa.admin
import django.contrib.auth.admin  # noqa: F401 registers what is taken off below
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.admin import options
from django.contrib.admin.utils import flatten
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import (
    Alias,
    AppPassword,
    AuditEvent,
    Domain,
    HelpAnswer,
    OrgUnit,
    RoleAssignment,
    User,
)
from accounts.models.directory import path_names
from accounts.requests import actor_of
from accounts.services.app_passwords import revoke_app_password
from accounts.services.people import restore_user, suspend_user
from accounts.services.second_factors import reset_second_factor

# Django's own classes take their model only in a type checker's eyes.
if TYPE_CHECKING:
    BaseModelAdmin = options.BaseModelAdmin[Any]
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    BaseModelAdmin = options.BaseModelAdmin
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline

admin.site.site_header = gettext_lazy("Outgate support")
admin.site.site_title = gettext_lazy("Outgate support")
admin.site.index_title = gettext_lazy("Look up")
admin.site.empty_value_display = "–"
# Beside it a list of wide rows would be cut off; every page's path leads to the same index.
admin.site.enable_nav_sidebar = False

# Roles take the place of groups, and only sign-in itself writes allauth's list of addresses: a
# row more in there would be a second way into an account. Second factors are secrets.
admin.site.unregister([Group, allauth.account.admin.EmailAddress, Authenticator])


class _LookUp(BaseModelAdmin):
    """Nobody adds, changes or deletes here: that would pass by the services and the audit."""

    def has_add_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def has_change_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def has_delete_permission(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def get_readonly_fields(self, *_args: Any, **_kwargs: Any) -> list[str]:
        return flatten(self.fields or ())


class SupportAdmin(_LookUp, ModelAdmin):
    """A list and a page per row, both to read. `fields` names what may be seen."""

    list_per_page = 50
    # Counting a whole log for the line "of 3,000,000" costs more than the page.
    show_full_result_count = False


class SupportInline(_LookUp, TabularInline):
    extra = 0
    can_delete = False


class AliasInline(SupportInline):
    model = Alias
    fields = ("address",)


class RoleInline(SupportInline):
    model = RoleAssignment
    fields = ("role", "unit", "privileges_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RoleAssignment]:
        return super().get_queryset(request).select_related("unit")


class AppPasswordInline(SupportInline):
    model = AppPassword
    fields = ("name", "created_at", "last_used_at", "last_used_network", "revoked_at")


@admin.register(User)
class UserAdmin(SupportAdmin):
    list_display = ("primary_address", "name", "unit", "cohort", "signs_in")
    list_filter = ("suspended", "roles__role")
    list_select_related = ("unit",)
    search_fields = ("primary_address", "name", "aliases__address", "unit__name")
    search_help_text = gettext_lazy("Address, alias, name or unit")
    fields: ClassVar[tuple[str, ...]] = (
        "primary_address",
        "name",
        "unit_path",
        "cohort",
        "signs_in",
        "language",
        "created_at",
        "last_login",
    )
    inlines = (AliasInline, RoleInline, AppPasswordInline)
    actions = ("suspend", "restore", "reset_second_factor")

    @admin.display(description=gettext_lazy("unit"))
    def unit_path(self, user: User) -> str:
        return path_names(user.unit)

    @admin.display(
        description=gettext_lazy("can sign in and send"), boolean=True, ordering="suspended"
    )
    def signs_in(self, user: User) -> bool:
        return not user.suspended

    def has_suspend_permission(self, request: HttpRequest) -> bool:
        return isinstance(request.user, User) and request.user.is_super_admin

    @admin.action(description=gettext_lazy("Suspend"), permissions=["suspend"])
    def suspend(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Leaves out one's own account: nobody locks himself out in a list."""
        actor = actor_of(request)
        others = [user for user in users if user != actor.user]
        for user in others:
            suspend_user(actor=actor, user=user)
        told = ngettext("%d account is suspended.", "%d accounts are suspended.", len(others))
        self.message_user(request, told % len(others), messages.SUCCESS)

    @admin.action(description=gettext_lazy("Restore"), permissions=["suspend"])
    def restore(self, request: HttpRequest, users: QuerySet[User]) -> None:
        restored = list(users)
        for user in restored:
            restore_user(actor=actor_of(request), user=user)
        told = ngettext(
            "%d account can sign in and send.", "%d accounts can sign in and send.", len(restored)
        )
        self.message_user(request, told % len(restored), messages.SUCCESS)

    @admin.action(description=gettext_lazy("Reset the second factor"))
    def reset_second_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """For all support staff, but for accounts with a role: those are named and left out."""
        reset = 0
        for user in users:
            try:
                reset += reset_second_factor(actor=actor_of(request), user=user)
            except PermissionDenied as refusal:
                self.message_user(request, f"{user.primary_address}: {refusal}", messages.ERROR)
        told = ngettext(
            "The second factor of %d account is gone, and its sessions have ended.",
            "The second factors of %d accounts are gone, and their sessions have ended.",
            reset,
        )
        self.message_user(request, told % reset, messages.SUCCESS)


@admin.register(AppPassword)
class AppPasswordAdmin(SupportAdmin):
    list_display = ("name", "user", "created_at", "last_used_at", "last_used_network", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "user__primary_address", "user__name")
    search_help_text = gettext_lazy("Account or name of the app password")
    fields = (
        "name",
        "user",
        "created_at",
        "last_used_at",
        "last_used_network",
        "revoked_at",
    )
    actions = ("revoke",)

    @admin.action(description=gettext_lazy("Revoke"))
    def revoke(self, request: HttpRequest, app_passwords: QuerySet[AppPassword]) -> None:
        """For all support staff: it is what a lost laptop needs at once."""
        revoked = list(app_passwords.select_related("user"))
        for app_password in revoked:
            revoke_app_password(actor=actor_of(request), app_password=app_password)
        told = ngettext(
            "%d app password is revoked.", "%d app passwords are revoked.", len(revoked)
        )
        self.message_user(request, told % len(revoked), messages.SUCCESS)


@admin.register(OrgUnit)
class OrgUnitAdmin(SupportAdmin):
    list_display = ("in_tree", "accounts")
    ordering = ("path",)
    search_fields = ("name", "description")
    search_help_text = gettext_lazy("Name or description")
    fields = ("name", "whole_path", "description", "accounts")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrgUnit]:
        units: QuerySet[OrgUnit] = super().get_queryset(request).annotate(accounts=Count("users"))
        return units

    @admin.display(description=gettext_lazy("unit"), ordering="path")
    def in_tree(self, unit: OrgUnit) -> str:
        return f"{'› ' * (unit.depth - 1)}{unit.name}"

    @admin.display(description=gettext_lazy("path"))
    def whole_path(self, unit: OrgUnit) -> str:
        return path_names(unit)

    @admin.display(description=gettext_lazy("accounts in it"), ordering="accounts")
    def accounts(self, unit: Any) -> int:
        return int(unit.accounts)


@admin.register(Domain)
class DomainAdmin(SupportAdmin):
    list_display = ("name", "kind", "alias_of")
    list_filter = ("kind",)
    list_select_related = ("alias_of",)
    search_fields = ("name",)
    fields = ("name", "kind", "alias_of")


@admin.register(RoleAssignment)
class RoleAssignmentAdmin(SupportAdmin):
    list_display = ("user", "role", "unit", "privileges_text")
    list_filter = ("role",)
    list_select_related = ("user", "unit")
    search_fields = ("user__primary_address", "user__name", "unit__name")
    search_help_text = gettext_lazy("Account or unit")
    fields = ("user", "role", "unit", "privileges_text")


@admin.register(AuditEvent)
class AuditEventAdmin(SupportAdmin):
    list_display = ("at", "name", "target", "actor_address", "client_ip")
    list_filter = ("at",)
    search_fields = ("name", "target", "actor_address")
    search_help_text = gettext_lazy("Event, target or actor")
    fields = ("at", "name", "target", "unit_path", "actor_address", "client_ip", "details")


@admin.register(HelpAnswer)
class HelpAnswerAdmin(SupportAdmin):
    list_display = ("page", "helpful", "comment", "user", "answered_at")
    list_filter = ("helpful", "page")
    list_select_related = ("user",)
    search_fields = ("page", "comment", "user__primary_address")
    search_help_text = gettext_lazy("Page, comment or account")
    fields = ("page", "helpful", "comment", "user", "answered_at")
