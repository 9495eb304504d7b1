"""What the console adds to the admin of users: signing out everywhere, what they have live, and deletion."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.console.deletion import delete_each, deleted_with_users
from oauth_binding.console.live_bindings import LiveBindingsInline
from oauth_binding.console.live_sessions import LiveSessionsInline
from oauth_binding.console.read_only import ask, is_confirmed
from oauth_binding.devices.registry import sign_out_everywhere
from oauth_binding.sessions.given_up import pages_if_given_up

#: How many users can be signed out at once.
MAX_USERS: Final = 100


@admin.action(description=_("Sign selected users out everywhere"), permissions=["change"])
def sign_out_users(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """Sign users out on all devices and at all applications, after a confirmation.

    An action for the admin of users. It is added automatically if that admin is registered at Django's own
    site.

    :param model_admin: the admin of users.
    :param request: the request of the action, or the confirmation.
    :param queryset: the users.
    :returns: the question; None if they have been signed out, or there are too many.
    """
    users = list(queryset[: MAX_USERS + 1])
    if len(users) > MAX_USERS:
        message = gettext("Select at most %(number)d users.") % {"number": MAX_USERS}
        model_admin.message_user(request, message, messages.ERROR)
        return None
    if not is_confirmed(request):
        question = ngettext(
            "This user will be signed out on all devices, at all applications, and in the browsers that were "
            "used to sign in to them:",
            "These users will be signed out on all devices, at all applications, and in the browsers that "
            "were used to sign in to them:",
            len(users),
        )
        rows = [(user, user.get_username()) for user in users]
        title, answer = _("Sign users out everywhere"), _("Yes, sign out")
        action = request.POST["action"]
        return ask(model_admin, request, rows, title=title, question=question, answer=answer, action=action)
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


def _pages_if_given_up(get_urls: Callable[[], list[URLPattern]]) -> list[URLPattern]:
    return pages_if_given_up(get_urls())


def add_to_admin_of_users() -> None:
    """Add all that to the admin of users, if that is registered by now."""
    try:
        user_admin: Any = admin.site.get_model_admin(get_user_model())
    except NotRegistered:
        return
    if sign_out_users not in (user_admin.actions or ()):
        user_admin.actions = [*(user_admin.actions or ()), sign_out_users]
    for inline in (LiveBindingsInline, LiveSessionsInline):
        if inline not in user_admin.inlines:
            user_admin.inlines = [*user_admin.inlines, inline]
    if not isinstance(user_admin.get_urls, partial):
        # Changing a password there ends tokens, and so does deactivating or deleting a user.
        user_admin.get_urls = partial(_pages_if_given_up, user_admin.get_urls)
    # Not if the site has a way of its own.
    if type(user_admin).get_deleted_objects is admin.ModelAdmin.get_deleted_objects:
        user_admin.get_deleted_objects = partial(deleted_with_users, user_admin)
    if type(user_admin).delete_queryset is admin.ModelAdmin.delete_queryset:
        user_admin.delete_queryset = partial(delete_each, user_admin)
