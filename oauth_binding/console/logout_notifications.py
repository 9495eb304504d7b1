"""The console's list of logout tokens that are going to be sent, or were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.authorization_server.backchannel.scheduling import send_again
from oauth_binding.console.filters import StatusFilter
from oauth_binding.console.large_tables import LargeTableAdmin, of_applications
from oauth_binding.console.read_only import ReadOnlyAdmin
from oauth_binding.models import LoginSession, LogoutNotification

#: What can have become of a row: the name of each state, and the condition of its rows.
_STATUSES: Final[dict[str, tuple[Any, Q]]] = {
    "delivered": (_("delivered"), Q(delivered_at__isnull=False)),
    "waiting": (_("waiting"), Q(next_attempt__isnull=False)),
    "given_up": (_("given up"), Q(delivered_at__isnull=True, next_attempt__isnull=True)),
}


class LogoutStatusFilter(StatusFilter):
    """By whether a logout token was delivered."""

    def statuses(self) -> dict[str, tuple[Any, Q]]:
        return _STATUSES


@admin.register(LogoutNotification)
class LogoutNotificationAdmin(LargeTableAdmin, ReadOnlyAdmin):
    """Logout tokens, which can be looked at, and sent again if nobody took them."""

    list_display = ("pk", "application", "status", "attempts", "next_attempt", "failure", "created")
    list_filter = (LogoutStatusFilter, "application")
    list_select_related = ("application",)
    search_help_text = _("Search by a whole client ID or application name")
    fields = (
        *("application", "status", "attempts", "last_attempt", "next_attempt", "failure"),
        *("created", "delivered_at", "issuer", "sub", "browser", "jti"),
    )
    readonly_fields = fields
    actions = ("send_again",)

    @admin.display(description=_("browser"))
    def browser(self, row: LogoutNotification) -> str:
        return LoginSession(sid=row.sid).label  # the session itself may be gone

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        yield from of_applications(search_term)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may have logout tokens sent again; permission to view is not enough."""
        user: Any = request.user
        return bool(user.has_perm("oauth_binding.change_logoutnotification"))

    @admin.display(description=_("status"))
    def status(self, row: LogoutNotification) -> str:
        if row.delivered_at is not None:
            value = "delivered"
        else:
            value = "given_up" if row.next_attempt is None else "waiting"
        return str(_STATUSES[value][0])

    @admin.action(description=_("Send again"), permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        rows = self.take(request, queryset, gettext("Select at most %(number)d logout notifications."))
        if not rows:
            return
        done = send_again(rows)
        for row in done:
            self.log_change(request, row, gettext("To be sent again."))
        text = ngettext(
            "%(number)d logout notification is going to be sent again.",
            "%(number)d logout notifications are going to be sent again.",
            len(done),
        )
        self.message_user(request, text % {"number": len(done)}, messages.SUCCESS)
        if len(done) < len(rows):
            text = gettext("Notifications that were delivered, or are being sent, were left alone.")
            self.message_user(request, text, messages.WARNING)
