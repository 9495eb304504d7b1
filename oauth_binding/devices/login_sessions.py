"""The browsers that a user is signed in with: what they are, and signing them out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db.models import Case, Q, QuerySet, Value, When
from django.utils.translation import gettext as _
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.core.databases import written
from oauth_binding.devices.search import named_or_called, names_application, words_of
from oauth_binding.models import LoginSession, TerminationReason
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.login_sessions import live_sessions
from oauth_binding.storage.tokens import access_tokens, not_registration_token, refresh_tokens

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def login_sessions_of(user: AbstractBaseUser) -> QuerySet[LoginSession]:
    """Return the login sessions of a user that go on, the most recently seen first.

    There is one for each browser in which the user has signed in to an application.

    :param user: who is signed in.
    """
    sessions: QuerySet[LoginSession] = written(LoginSession).filter(live_sessions(), user=user)
    return sessions.order_by("-last_seen", "-pk")


def found_sessions(
    user: AbstractBaseUser, search: str, at_hand: LoginSession | None
) -> QuerySet[LoginSession]:
    """Return those of ``login_sessions_of`` that a search finds, that of the present browser first.

    :param search: words, each of which has to be found in a browser's name, or in the name of an application
        that is signed in from it; empty for all.
    :param at_hand: the login session of the present browser, which goes on; None for none.
    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    sessions = login_sessions_of(user)
    if at_hand is not None:
        at_first = Q(pk=at_hand.pk)
        sessions = written(LoginSession).filter(live_sessions() | at_first, user=user)
        is_first = Case(When(at_first, then=Value(1)), default=Value(0))
        sessions = sessions.order_by(is_first.desc(), "-last_seen", "-pk")
    for word in words_of(search):
        sessions = sessions.filter(named_or_called(word) | _signs_in_to(word, user))
    return sessions


def _signs_in_to(word: str, user: AbstractBaseUser) -> Q:
    """Return the condition of login sessions with live tokens of an application that has such a name."""
    found = Q()
    for tokens in (
        access_tokens().filter(not_registration_token(), live_access_tokens()),
        refresh_tokens().filter(live_refresh_tokens()),
    ):
        named = tokens.filter(
            names_application(word, "application"), user=user, binding_session__isnull=False
        )
        found |= Q(pk__in=named.values("binding_session"))
    return found


def find_login_session(user: AbstractBaseUser, pk: int) -> LoginSession | None:
    """Return the login session of a user that has a primary key, whether or not it goes on, or None."""
    session: LoginSession | None = written(LoginSession).filter(user=user, pk=pk).first()
    return session


def browser_name(session: LoginSession) -> str:
    """Return what to call the browser of a login session: what it looks like, or else plain words."""
    return session.description or _("Unknown browser")


def applications_of(sessions: Iterable[LoginSession]) -> dict[int, list[Any]]:
    """Return the applications that are signed in from login sessions: that have live tokens from there.

    It takes three queries, however many sessions there are.

    :returns: the applications of each session, sorted, by the primary key of the session.
    :raises ImproperlyConfigured: ``REFRESH_TOKEN_EXPIRE_SECONDS`` is malformed.
    """
    found: dict[int, set[Any]] = {session.pk: set() for session in sessions}
    for rows, kind, live in (
        (access_tokens(), not_registration_token(), live_access_tokens()),
        (refresh_tokens(), Q(), live_refresh_tokens()),
    ):
        tokens = rows.filter(kind, live, binding_session__in=[*found], application__isnull=False).order_by()
        for session, application in tokens.values_list("binding_session", "application").distinct():
            found[session].add(application)
    applications = written(get_application_model()).in_bulk([*set().union(*found.values())])
    return {
        session: sorted(
            (applications[pk] for pk in pks if pk in applications),
            key=lambda application: (str(application).casefold(), str(application.pk)),
        )
        for session, pks in found.items()
    }


def sign_out_browser(session: LoginSession) -> None:
    """Sign a user out in a browser: end its login session, and the tokens that end with it.

    On its next page, the browser has to log in again: on a page of this server, or with
    ``LoginSessionMiddleware`` on any page of the site.

    :param session: one that may have ended already; nothing happens then.
    """
    end_session(session, TerminationReason.USER)
