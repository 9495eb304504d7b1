"""Admin classes for what can only be looked at, and for what can also be revoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from oauth_binding.console.links import list_url
from oauth_binding.console.lookups import KnownLookupsAdmin
from oauth_binding.devices.history import described, holders, note

#: How many rows can be revoked at once; by default, Django takes no more fields in a form.
MAX_REVOKED: Final = 900


class ReadOnlyAdmin(KnownLookupsAdmin):
    """Rows can be looked at, but not added, changed or deleted from here.

    Whoever may change who holds a token, or what it is for, can become another user.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Not here; but deleting a user or an application deletes what they hold, and needs this permission.
        match = request.resolver_match
        own = f"{self.opts.app_label}_{self.opts.model_name}_"
        is_here = match is not None and (match.url_name or "").startswith(own)
        # Unlike django-oauth-toolkit's admin classes, which never allow it: no such user could be deleted.
        return not is_here and admin.ModelAdmin.has_delete_permission(self, request, obj)

    def take(self, request: HttpRequest, queryset: QuerySet[Any], too_many: str) -> list[Any] | None:
        """Return the selected rows, or None if there are too many, which the user is then told.

        :param too_many: the message, with ``number`` for how many are allowed.
        """
        rows = list(queryset[: MAX_REVOKED + 1])
        if len(rows) > MAX_REVOKED:
            self.message_user(request, too_many % {"number": MAX_REVOKED}, messages.ERROR)
            return None
        return rows


class RevocableAdmin(ReadOnlyAdmin):
    """Rows can be revoked with a permission of its own, which also allows looking at them."""

    #: The permission to revoke.
    revoke_permission: str

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may revoke; permission to view is not enough."""
        user: Any = request.user
        return bool(user.has_perm(self.revoke_permission))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_revoke_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or self.has_revoke_permission(request)

    def buttons(self, request: HttpRequest, obj: Any) -> dict[str, bool]:
        """Return which buttons the page of a row has, by their names in its template."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context |= self.buttons(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def do_to_one(
        self,
        request: HttpRequest,
        object_id: str,
        confirm: Callable[[HttpRequest, list[Any]], HttpResponse],
        do: Callable[[HttpRequest, list[Any]], None],
    ) -> HttpResponse:
        """Do what a button on the page of a single row says, after a confirmation.

        :param object_id: as it is in the address.
        :param confirm: returns the page that asks.
        :param do: does it, and tells the user.
        :raises PermissionDenied: whoever asks may not revoke.
        :raises Http404: there is no such row.
        """
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        if request.method != "POST":
            return confirm(request, [row])
        do(request, [row])
        return back_to_list(self, request)


def ask(
    model_admin: Any,
    request: HttpRequest,
    rows: Sequence[tuple[Any, str]],
    *,
    title: Any,
    question: str,
    answer: Any,
    action: str = "",
) -> TemplateResponse:
    """Return a page that asks whether something is to be done to some rows.

    :param rows: each with the text that it is shown with.
    :param answer: the label of the button that does it.
    :param action: the list's action that is then carried out; empty if the page's own address does it.
    """
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "rows": rows,
        "question": question,
        "answer": answer,
        "action": action,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "preserved_filters": model_admin.get_preserved_filters(request),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/oauth_binding/confirmation.html", context)


def back_to_list(model_admin: Any, request: HttpRequest) -> HttpResponseRedirect:
    """Lead back to the list that somebody came from, filtered as it was."""
    context = {"preserved_filters": model_admin.get_preserved_filters(request), "opts": model_admin.opts}
    url = list_url(model_admin.admin_site, model_admin.model)
    return HttpResponseRedirect(add_preserved_filters(context, url))


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the question on the confirmation page was answered."""
    return bool(request.POST.get("confirmed"))


def note_done(model_admin: Any, request: HttpRequest, row: Any, text: str) -> None:
    """Note in the history of a row, and of its user and its application, what was done to it.

    :param text: with the placeholder ``what`` for the row.
    """
    noted = text % {"what": described(row)}
    model_admin.log_change(request, row, noted)
    note(request.user, holders(row), noted)


def note_revoked(model_admin: Any, request: HttpRequest, row: Any) -> None:
    """Note that a row was revoked, as ``note_done`` does."""
    note_done(model_admin, request, row, gettext("Revoked: %(what)s."))
