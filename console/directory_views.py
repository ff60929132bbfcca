"""The pages of accounts and units."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.forms import Form
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from console.access import (
    AdminRequest,
    administered_account,
    administered_unit,
    for_account_changers,
    for_account_managers,
    for_account_readers,
    for_administrators,
    for_unit_changers,
)
from console.account_actions import (
    MAIL_LINK,
    RESTORE,
    SUSPEND,
    account_action_page,
    account_move_page,
    lost_account,
)
from console.account_app_passwords import account_app_passwords_page
from console.account_names import account_aliases_page, account_rename_page
from console.account_pages import account_apply_now_page, account_list, account_page
from console.forms import (
    AliasForm,
    NewAccountForm,
    ReasonForm,
    RenameForm,
    UnitMoveForm,
    UnitNameForm,
)
from console.new_account import new_account_page
from console.unit_actions import (
    create_unit_page,
    delete_unit_page,
    lost_unit,
    rename_unit_page,
)
from console.unit_move_page import move_unit_page
from console.unit_tree import UnitTree
from console.units_page import unit_page


@require_safe
@for_account_readers
def accounts(request: AdminRequest) -> HttpResponse:
    return account_list(request)


@require_safe
@for_account_readers
def account(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return account_page(request, administered_account(request, account_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_new(request: AdminRequest) -> HttpResponse:
    if not request.administered:
        return lost_account(request, NewAccountForm)
    return new_account_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def account_apply_now(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return account_apply_now_page(request, administered_account(request, account_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_suspend(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, partial(account_action_page, action=SUSPEND))


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_restore(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, partial(account_action_page, action=RESTORE))


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_move(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, account_move_page)


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_mail_link(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, partial(account_action_page, action=MAIL_LINK))


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_rename(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, account_rename_page, RenameForm)


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_aliases(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, account_aliases_page, AliasForm)


@require_http_methods(["GET", "HEAD", "POST"])
@for_account_changers
def account_app_passwords(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return _of_account(request, account_id, account_app_passwords_page, Form)


def _of_account(
    request: AdminRequest,
    account_id: UUID,
    page: Callable[[AdminRequest, User], HttpResponse],
    form: type[Form] = ReasonForm,
) -> HttpResponse:
    """Who posts a form of an account that he can't see any more has it back as he typed it."""
    try:
        user = administered_account(request, account_id)
    except Http404:
        if request.method != "POST":
            raise
        return lost_account(request, form)
    return page(request, user)


@require_safe
@for_account_managers
def unit(request: AdminRequest, unit_id: int | None = None) -> HttpResponse:
    return unit_page(request, administered_unit(request, unit_id))


@require_safe
@for_account_managers
def unit_below(request: AdminRequest, unit_id: int) -> HttpResponse:
    """One level of the unit tree, for the script that opens it in place."""
    nodes = UnitTree(request, "console:unit").nodes_below(administered_unit(request, unit_id))
    return render(request, "parts/tree.html", {"nodes": nodes})


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_changers
def unit_create(request: AdminRequest, unit_id: int) -> HttpResponse:
    try:
        return create_unit_page(request, administered_unit(request, unit_id))
    except Http404:
        return _lost(request, unit_id, UnitNameForm)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_changers
def unit_rename(request: AdminRequest, unit_id: int) -> HttpResponse:
    try:
        return rename_unit_page(request, administered_unit(request, unit_id))
    except Http404:
        return _lost(request, unit_id, UnitNameForm)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_changers
def unit_move(request: AdminRequest, unit_id: int) -> HttpResponse:
    try:
        return move_unit_page(request, administered_unit(request, unit_id))
    except Http404:
        return _lost(request, unit_id, UnitMoveForm)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_changers
def unit_delete(request: AdminRequest, unit_id: int) -> HttpResponse:
    try:
        return delete_unit_page(request, administered_unit(request, unit_id))
    except Http404:
        return _lost(request, unit_id, ReasonForm)


def _lost(
    request: AdminRequest, unit_id: int, form: type[ReasonForm | UnitNameForm]
) -> HttpResponse:
    """A form comes back as it was typed; a page that is only looked at is not there."""
    if request.method != "POST":
        raise Http404
    return lost_unit(request, unit_id, form)
