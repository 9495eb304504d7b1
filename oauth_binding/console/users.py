"""The console's action on users: signing them out everywhere."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.devices.registry import sign_out_everywhere

#: How many users are signed out at once at most.
MAX_USERS: Final = 100


@admin.action(description=_("Sign selected users out everywhere"), permissions=["change"])
def sign_out_users(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """Sign users out on all devices and at all applications, after a confirmation.

    An action for the admin of users. It is there by itself where that is registered at Django's own site.
    """
    users = list(queryset[: MAX_USERS + 1])
    if len(users) > MAX_USERS:
        message = gettext("Select at most %(number)d users.") % {"number": MAX_USERS}
        model_admin.message_user(request, message, messages.ERROR)
        return None
    if not request.POST.get("confirmed"):
        context = {
            **model_admin.admin_site.each_context(request),
            "title": _("Sign users out everywhere"),
            "opts": model_admin.opts,
            "media": model_admin.media,
            "users": users,
            "action": request.POST["action"],
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        request.current_app = model_admin.admin_site.name
        return TemplateResponse(request, "admin/oauth_binding/user/sign_out_confirmation.html", context)
    for user in users:
        sign_out_everywhere(user)
        model_admin.log_change(request, user, gettext("Signed out everywhere."))
    message = ngettext(
        "%(number)d user was signed out everywhere.",
        "%(number)d users were signed out everywhere.",
        len(users),
    )
    model_admin.message_user(request, message % {"number": len(users)}, messages.SUCCESS)
    return None


def add_to_admin_of_users() -> None:
    """Add the action to the admin of users, where that is registered by now."""
    try:
        user_admin = admin.site.get_model_admin(get_user_model())
    except NotRegistered:
        return
    if sign_out_users not in (user_admin.actions or ()):
        user_admin.actions = [*(user_admin.actions or ()), sign_out_users]
