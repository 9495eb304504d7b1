"""Admin classes of what can be looked at, and of what can be revoked besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from oauth_binding.console.lookups import KnownLookupsAdmin

#: How many rows can be revoked at once; Django takes no more fields in a form by default.
MAX_REVOKED: Final = 900


class ReadOnlyAdmin(KnownLookupsAdmin):
    """Rows can be looked at and, from here, neither added nor changed nor deleted.

    Whoever may change who holds a token, or what it is for, can make himself another user.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Not here; but who deletes a user or an application deletes what they hold, and is asked for this.
        match = request.resolver_match
        own = f"{self.opts.app_label}_{self.opts.model_name}_"
        is_here = match is not None and (match.url_name or "").startswith(own)
        # Not what django-oauth-toolkit's admin classes say, which is never: no such user could be deleted.
        return not is_here and admin.ModelAdmin.has_delete_permission(self, request, obj)


class RevocableAdmin(ReadOnlyAdmin):
    """Rows can be revoked by who has a permission of its own for that, and may look at them then."""

    #: The permission to revoke.
    revoke_permission: str

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may revoke: who may only view may not."""
        user: Any = request.user
        return bool(user.has_perm(self.revoke_permission))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_revoke_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or self.has_revoke_permission(request)

    def take(self, request: HttpRequest, queryset: QuerySet[Any], too_many: str) -> list[Any] | None:
        """Return the rows that were selected, or None where they are too many, as the user is told then.

        :param too_many: the message, with the ``number`` that there may be.
        """
        rows = list(queryset[: MAX_REVOKED + 1])
        if len(rows) > MAX_REVOKED:
            self.message_user(request, too_many % {"number": MAX_REVOKED}, messages.ERROR)
            return None
        return rows


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

    :param rows: each with the text it is shown with.
    :param answer: what the button says that does it.
    :param action: the list's action that is carried out then; empty where the page's own address does it.
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
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/oauth_binding/confirmation.html", context)


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the page that asks was answered."""
    return bool(request.POST.get("confirmed"))


def note(model_admin: Any, request: HttpRequest, rows: Sequence[Any]) -> None:
    """Note in the history of some rows that they were revoked."""
    for row in rows:
        model_admin.log_change(request, row, gettext("Revoked."))
