"""Suspending, restoring and moving an account: one question each, then the service."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import OrgUnit, Privilege, User
from accounts.models.directory import path_names
from accounts.requests import actor_of
from accounts.services.directory import UnitGoneError
from accounts.services.new_accounts import mail_password_link
from accounts.services.people import move_user, restore_user, suspend_user
from console.access import AdminRequest, administered_account, administered_units
from console.forms import MoveForm, ReasonForm
from console.kept_form import kept_form
from console.move_preview import account_move
from console.save_notices import Notice
from console.seen_account import sign_account
from console.seen_unit import seen_unit, sign_unit
from console.unit_choice import chosen_unit, offered_units, typed_text
from delivery.models import OutboxMessage


@dataclass(frozen=True)
class AccountAction:
    """`question` and `done` take the address; where it is not possible, `already` says why."""

    service: Callable[..., None]
    title: str | Promise
    question: str | Promise
    button: str | Promise
    keep: str | Promise
    done: str | Promise
    already: str | Promise
    consequences: Callable[[User], list[str]]
    is_possible: Callable[[User], bool]
    is_danger: bool = False


def _of_suspension(user: User) -> list[str]:
    told = [
        _("Within a second its sessions end, nobody can sign in with it, and its mail ends: mail "
          "programs that are connected are refused, also in the middle of a message."),
    ]  # fmt: skip
    waiting = OutboxMessage.objects.filter(account=user, state__in=OutboxMessage.UNDER_WAY).count()
    if waiting:
        text = ngettext(
            "%(count)s message of it that waits in the outbox is not sent.",
            "%(count)s messages of it that wait in the outbox are not sent.",
            waiting,
        )
        told.append(text % {"count": f"{waiting:,}"})
    told.append(
        _("Nothing is deleted: addresses, app passwords and stored passwords are kept until it is "
          "restored.")
    )  # fmt: skip
    return told


def _of_restoring(_user: User) -> list[str]:
    return [
        _("Within a second it can sign in and send again, with the same passwords, addresses and "
          "app passwords as before."),
        _("Sessions that the suspension ended stay ended: the person signs in anew. Messages that "
          "were not sent meanwhile are not sent now."),
    ]  # fmt: skip


def _of_mailing(_user: User) -> list[str]:
    return [
        _("Nobody has chosen a password for this account yet. The mail goes to its own address: "
          "only who reads its mail can use the link, once and for a few days."),
        _("Later, “Forgotten?” at the sign-in mails a new one as well."),
    ]  # fmt: skip


SUSPEND = AccountAction(
    suspend_user,
    title=gettext_lazy("Suspend"),
    question=gettext_lazy("Suspend %s?"),
    button=gettext_lazy("Suspend the account"),
    keep=gettext_lazy("Leave it as it is"),
    done=gettext_lazy("%s is suspended: it can neither sign in nor send."),
    already=gettext_lazy("The account is suspended already"),
    consequences=_of_suspension,
    is_possible=lambda user: not user.suspended,
    is_danger=True,
)
RESTORE = AccountAction(
    restore_user,
    title=gettext_lazy("Restore"),
    question=gettext_lazy("Restore %s?"),
    button=gettext_lazy("Restore the account"),
    keep=gettext_lazy("Leave it suspended"),
    done=gettext_lazy("%s can sign in and send again."),
    already=gettext_lazy("The account is not suspended"),
    consequences=_of_restoring,
    is_possible=lambda user: user.suspended,
)
MAIL_LINK = AccountAction(
    mail_password_link,
    title=gettext_lazy("Mail the password link"),
    question=gettext_lazy("Mail %s a link to choose a password by?"),
    button=gettext_lazy("Mail the link"),
    keep=gettext_lazy("Leave it as it is"),
    done=gettext_lazy("A link to choose a password by was mailed to %s."),
    already=gettext_lazy("The account has a password already, or is suspended"),
    consequences=_of_mailing,
    is_possible=lambda user: not (user.suspended or user.has_usable_password()),
)


def managing(request: AdminRequest, user: User) -> dict[str, Any]:
    """What the administrator may do with the account itself. One query.

    `manages`: has *users* at its unit; `left_to_super`: but the account has a role itself.
    `seen_account`: for a form.
    """
    manages = request.rights.reach(user.unit.path, Privilege.USERS)
    left = manages and not request.rights.is_super and user.roles.exists()
    return {
        "manages": manages,
        "left_to_super": left,
        "can_manage": manages and not left,
        "is_own": request.user.pk == user.pk,
        "has_password": user.has_usable_password(),
        "seen_account": sign_account(request.user, user.pk),
    }


def lost_account(request: AdminRequest, form: type[Form] = ReasonForm) -> HttpResponse:
    """The answer to a form about an account that one can't see any more, if it ever was there."""
    sees_accounts = request.rights.paths(Privilege.MAIL_SETTINGS, Privilege.USERS)
    notice = Notice(
        kind="bad",
        title=_("This account is not, or no longer, among those that you manage"),
        text=_("Nothing was done. Somebody may have moved it, or changed your role."),
        status=HTTPStatus.NOT_FOUND,
        action_url=reverse("console:accounts") if sees_accounts else "",
        action_text=_("Go to the accounts"),
    )
    path: list[tuple[str | Promise, str]] = [(_("Accounts"), notice.action_url)]
    return kept_form(request, form(), notice, _("Account"), _("What you typed"), path)


def account_action_page(request: AdminRequest, user: User, action: AccountAction) -> HttpResponse:
    """The question with what happens; a POST asks the service."""
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _ask(request, user, action, form)
    try:
        action.service(actor=actor_of(request), user=user, **form.cleaned_data)
    except ValidationError as refusal:
        return _ask(request, user, action, form, refusal.messages[0])
    except PermissionDenied as refusal:
        return _ask(request, user, action, form, not_done(refusal))
    messages.success(request, action.done % user.primary_address)
    return redirect("console:account", user.pk)


def not_done(refusal: PermissionDenied) -> str:
    return f"{refusal} {_('Nothing was done.')}"


def _ask(
    request: AdminRequest, user: User, action: AccountAction, form: ReasonForm, why: str = ""
) -> HttpResponse:
    managed = managing(request, user)
    context = {
        **managed,
        "is_barred": action.is_danger and managed["is_own"],
        "account": user,
        "action": action,
        "question": action.question % user.primary_address,
        "is_possible": action.is_possible(user),
        "consequences": action.consequences(user),
        "form": form,
        "why": why,
        "path": path_to(user, action.title),
    }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/account_action.html", context, status=status)


def path_to(user: User, title: str | Promise) -> list[tuple[str | Promise, str]]:
    return [
        (_("Accounts"), reverse("console:accounts")),
        (user.primary_address, reverse("console:account", args=[user.pk])),
        (title, ""),
    ]


def account_move_page(request: AdminRequest, user: User) -> HttpResponse:
    """First which unit, then what the move changes; a POST asks the service."""
    units = administered_units(request).exclude(pk=user.unit_id)
    if request.method != "POST":
        return _ask_where(request, user, units, chosen_unit(request, units))
    form = MoveForm(request.POST)
    if not form.is_valid():
        target = units.filter(pk=form.cleaned_data.get("to", 0)).first()
        return _ask_where(request, user, units, target, form)
    to = form.cleaned_data["to"]
    seen = seen_unit(request, to)
    target = administered_units(request).filter(pk=to).first()
    if target is None:
        return _ask_where(request, user, units, None, form, lost_target(to, seen and seen.name))
    try:
        move_user(
            actor=actor_of(request),
            user=user,
            unit=target,
            reason=form.cleaned_data["reason"],
            seen_unit_id=form.cleaned_data["unit_id"],
            seen_target=seen,
        )
    except UnitGoneError as refusal:
        return _ask_where(request, user, units, None, form, refusal.messages[0])
    except ValidationError as refusal:
        user = administered_account(request, user.pk)
        units = administered_units(request).exclude(pk=user.unit_id)
        target = units.filter(pk=to).first()
        return _ask_where(request, user, units, target, form, refusal.messages[0])
    except PermissionDenied as refusal:
        return _ask_where(request, user, units, target, form, not_done(refusal))
    told = {"address": user.primary_address, "unit": target.name}
    messages.success(request, _("%(address)s is in %(unit)s now.") % told)
    return redirect("console:account", user.pk)


def lost_target(unit_id: int, name: str | None) -> str:
    """Only who was shown the unit is told its name, and which of the two it is."""
    if name is None:
        return _("There is no such unit among those that you manage. Choose another.")
    if OrgUnit.objects.filter(pk=unit_id).exists():
        return _("You no longer manage %(unit)s. Nothing was done: choose another unit.") % {
            "unit": name
        }
    return _("%(unit)s was deleted meanwhile. Nothing was done: choose another unit.") % {
        "unit": name
    }


def _ask_where(
    request: AdminRequest,
    user: User,
    units: QuerySet[OrgUnit],
    target: OrgUnit | None,
    form: MoveForm | None = None,
    why: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {
        **managing(request, user),
        "account": user,
        "target": target,
        "why": why,
        "path": path_to(user, _("Move")),
    }
    if target is None:
        context |= offered_units(request, units, form)
    else:
        # What is typed stays; what was seen is what this page shows.
        reason = typed_text(request, form, "reason")
        context |= {
            "target_path": path_names(target),
            "move": account_move(user, target),
            "seen_unit": sign_unit(request.user, target),
            "form": MoveForm(
                initial={"unit_id": user.unit_id, "to": target.pk, "reason": reason}
            ) if form is None or why else form,
        }  # fmt: skip
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/account_move.html", context, status=status)
