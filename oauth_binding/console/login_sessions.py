"""The console's list of login sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.console.cells import short_moment, two_lines, where
from oauth_binding.console.filters import StatusFilter
from oauth_binding.console.large_tables import LargeTableAdmin, of_users
from oauth_binding.console.read_only import RevocableAdmin, ask, is_confirmed, note_done
from oauth_binding.devices.history import described
from oauth_binding.models import LoginSession, TerminationReason
from oauth_binding.storage.login_sessions import live_sessions


class SessionStatusFilter(StatusFilter):
    """By whether a login session goes on."""

    def statuses(self) -> dict[str, tuple[Any, Q]]:
        return {
            "live": (_("live"), live_sessions()),
            "expired": (_("expired"), Q(terminated_at__isnull=True, expires__lte=timezone.now())),
            "ended": (_("ended"), Q(terminated_at__isnull=False)),
        }


@admin.register(LoginSession)
class LoginSessionAdmin(LargeTableAdmin, RevocableAdmin):
    """Login sessions can be looked at and ended, and nothing else."""

    list_display = ("browser", "user", "what_became", "seen", "first_seen")
    sortable_by = ("first_seen",)  # by primary key: no other column's index has this order
    list_filter = (SessionStatusFilter,)
    linked_fields = ("user",)
    search_fields = ("user",)  # shows the box; see get_search_conditions()
    search_help_text = _("Search by a whole user name or email address")
    fields: ClassVar[Any] = (
        *("user", "browser", "status", "termination_reason", "terminated_at", "issuer"),
        *("authenticated_at", "created", "last_seen", "expires"),
        *("last_address", "last_place", "first_address", "first_place"),
    )
    readonly_fields = fields
    actions = ("end",)
    revoke_permission = "oauth_binding.end_loginsession"

    # Nothing is joined, for the same reason as with bindings.
    list_select_related = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[LoginSession]:
        return super().get_queryset(request).prefetch_related("user")

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        return of_users(search_term)

    @admin.display(description=_("browser"))
    def browser(self, session: LoginSession) -> str:
        # This is what the user sees, too.
        return two_lines(session.description, session.label) if session.description else session.label

    @admin.display(description=_("status"))
    def status(self, session: LoginSession) -> str:
        if session.terminated_at is not None:
            return str(_("ended"))
        return str(_("live") if session.is_live else _("expired"))

    @admin.display(description=_("status"))
    def what_became(self, session: LoginSession) -> str:
        return two_lines(self.status(session), str(session.get_termination_reason_display()))

    @admin.display(description=_("last seen"))
    def seen(self, session: LoginSession) -> str:
        return two_lines(short_moment(session.last_seen), where(session))

    @admin.display(description=_("first seen"), ordering="pk")
    def first_seen(self, session: LoginSession) -> str:
        return short_moment(session.created)

    def get_urls(self) -> list[URLPattern]:
        end = self.admin_site.admin_view(self.end_view)
        return [
            path("<path:object_id>/end/", end, name="oauth_binding_loginsession_end"),
            *super().get_urls(),
        ]

    def buttons(self, request: HttpRequest, obj: Any) -> dict[str, bool]:
        return {"may_end": self.has_revoke_permission(request) and obj.terminated_at is None}

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End one login session, after a confirmation."""
        return self.do_to_one(request, object_id, self._confirm, self._end)

    @admin.action(description=_("End selected login sessions"), permissions=["revoke"])
    def end(self, request: HttpRequest, queryset: QuerySet[LoginSession]) -> HttpResponse | None:
        sessions = self.take(
            request,
            queryset.filter(terminated_at__isnull=True),
            gettext("Select at most %(number)d login sessions."),
        )
        if sessions is None:
            return None
        if sessions and not is_confirmed(request):
            return self._confirm(request, sessions, action="end")
        self._end(request, sessions)
        return None

    def _end(self, request: HttpRequest, sessions: list[LoginSession]) -> None:
        sessions = [session for session in sessions if session.terminated_at is None]
        for session in sessions:
            end_session(session, TerminationReason.OPERATOR)
            note_done(self, request, session, gettext("Ended: %(what)s."))
        number = len(sessions)
        message = ngettext(
            "%(number)d login session was ended.", "%(number)d login sessions were ended.", number
        )
        self.message_user(request, message % {"number": number}, messages.SUCCESS)

    def _confirm(self, request: HttpRequest, sessions: list[LoginSession], action: str = "") -> HttpResponse:
        question = ngettext(
            "The user will be logged out of this browser, and of applications whose tokens end with the "
            "login session:",
            "The users will be logged out of these browsers, and of applications whose tokens end with the "
            "login sessions:",
            len(sessions),
        )
        rows = [(session, described(session)) for session in sessions]
        title, answer = _("End login sessions"), _("Yes, end")
        return ask(self, request, rows, title=title, question=question, answer=answer, action=action)
