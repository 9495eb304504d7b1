"""How many live login sessions a user has: a line on the user's page, which leads to the list."""

from __future__ import annotations

from typing import ClassVar

from django.utils.translation import gettext

from oauth_binding.console.lines import Line, LineInline
from oauth_binding.core.databases import written
from oauth_binding.models import LoginSession
from oauth_binding.storage.login_sessions import live_sessions


class LiveSessions(Line):
    """The live login sessions of a user."""

    filters: ClassVar[dict[str, str]] = {"status": "live"}

    @property
    def text(self) -> str:
        number = written(LoginSession).filter(live_sessions(), **{self.fk.name: self.instance}).count()
        return gettext("%(number)d live") % {"number": number}


class LiveSessionsInline(LineInline):
    """A line on the page of a user, for whoever may look at login sessions.

    It is added automatically to the pages of users at Django's own site.
    """

    model = LoginSession
    formset = LiveSessions
