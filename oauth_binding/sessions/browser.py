"""The login session of a browser, by what Django's session keeps of it.

There are three entries: the ``sid`` of the login session, the ``sid`` that it is going to have, and when the
user signed in. So any session engine will do, and the session's key, which is a secret, is never kept
anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.utils import timezone

from oauth_binding.core import moments
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.databases import deciding
from oauth_binding.core.device_facts import facts_of
from oauth_binding.models import KEEPS_BROWSER, LoginSession, sighting
from oauth_binding.storage import login_sessions, users
from oauth_binding.storage.attempts import in_transaction

#: Where Django's session has the ``sid`` of the login session.
SID_KEY: Final = "_oauth_binding_sid"

#: Where it has the ``sid`` of the login session that is going to begin. It is chosen at the login, so that
#: simultaneous requests of a browser begin the same one, and a logout finds it.
FIRST_SID_KEY: Final = "_oauth_binding_first_sid"

#: Where it has when the user signed in, in seconds since the epoch.
AUTHENTICATED_KEY: Final = "_oauth_binding_authenticated"


class LoggedOutError(Exception):
    """A browser was logged out while it was asking for something."""


def connect() -> None:
    """Have the time of each login in a browser noted."""
    user_logged_in.connect(_note_login)


def _note_login(sender: Any, request: Any, **kwargs: Any) -> None:
    if hasattr(request, "session"):  # a site may sign users in without a browser
        request.session[AUTHENTICATED_KEY] = int(timezone.now().timestamp())
        request.session.setdefault(FIRST_SID_KEY, str(uuid4()))


def begin_or_continue(request: HttpRequest) -> LoginSession | None:
    """Return the login session of a browser in which a user authorizes; it begins the first time.

    None if there is no browser: a site may authenticate requests in ways other than Django's sessions.

    :param request: one of an authenticated user, which ``follow`` has seen.
    :raises LoggedOutError: the login session has ended since.
    """
    if not hasattr(request, "session"):
        return None
    user: Any = request.user
    session, authenticated_at = _session_of(request), _authenticated_at(request)
    facts = facts_of(request.META)
    if session is not None and session.user_id == user.pk:
        session.see(facts)
        if session.terminated_at is None and session.authenticated_at == authenticated_at:
            return session  # that it goes on, and was seen, is found out when the code is saved
        if _note_seen(session, authenticated_at):
            return session
        if _logs_out(login_sessions.find(session.sid)):
            raise LoggedOutError("The user was logged out.")
    for sid in (_next_sid(request, session), uuid4()):
        request.session[SID_KEY] = str(sid)
        begun = login_sessions.begin(
            LoginSession(
                sid=sid,
                user=user,
                issuer=get_issuer(request),
                authenticated_at=authenticated_at,
                expires=request.session.get_expiry_date(),
                **sighting("first", facts),
                **sighting("last", facts),
            )
        )
        if begun is not None and begun.user_id == user.pk and begun.terminated_at is None:
            return begun
        if _logs_out(begun):
            break
    raise LoggedOutError("The user was logged out.")


def _next_sid(request: HttpRequest, before: LoginSession | None) -> UUID:
    """Return the ``sid`` of the login session to begin; simultaneous requests get the same.

    :param before: the one that Django's session names, if any.
    """
    if before is not None:
        return uuid5(before.sid, str(request.user.pk))
    first = request.session.get(FIRST_SID_KEY)  # None for a login from before this app was installed
    return uuid4() if first is None else UUID(first)


def current(request: HttpRequest) -> LoginSession | None:
    """Return the login session of a browser, or None: there is none yet, or it has ended."""
    session = _session_of(request)
    if session is None or session.terminated_at is not None or session.user_id != request.user.pk:
        return None
    return session


def _session_of(request: HttpRequest) -> LoginSession | None:
    """Return the login session that Django's session names, ended or not, or None."""
    django_session = getattr(request, "session", None)
    sid = None if django_session is None else django_session.get(SID_KEY)
    return None if sid is None else login_sessions.find(sid)


def _logs_out(session: LoginSession | None) -> bool:
    """Return whether the browser with this login session is to be logged out; one that is gone has ended."""
    return session is None or (
        session.terminated_at is not None and session.termination_reason not in KEEPS_BROWSER
    )


@deciding()
def follow(request: HttpRequest) -> None:
    """Log a browser out if its login session was ended from elsewhere; otherwise note that it was seen.

    A login session that no longer exists counts as ended.

    :param request: one with Django's session.
    """
    # Without a cookie, an answer does not depend on one, and caches need no Vary.
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not hasattr(request, "session"):
        return
    if SID_KEY not in request.session:
        return
    session = _session_of(request)
    if session is None or _logs_out(session):
        logout(request)
        return
    if timezone.now() - session.last_seen > login_sessions.LAST_SEEN_RESOLUTION:
        session.see(facts_of(request.META))
        _note_seen(session, session.authenticated_at)
    if session.expires <= timezone.now():
        # Django's session goes on, but nobody noticed when it was saved: by another process, for instance.
        request.session.modified = True


def note_saved(django_session: Any) -> None:
    """Note when one of Django's sessions expires, which it tells whenever it is saved.

    :param django_session: one of Django's sessions that has just been saved.
    """
    session, expires = login_sessions.find(django_session.get(SID_KEY)), django_session.get_expiry_date()
    if session is not None and not login_sessions.is_about(session, expires):
        _note(session, partial(login_sessions.note_expiry, session, expires))


def sid_to_end(session: Any) -> Any:
    """Return the ``sid`` of the login session that ends with one of Django's sessions, or None.

    A request that is not answered yet may have begun it.

    :param session: one of Django's sessions.
    """
    return session.get(SID_KEY, session.get(FIRST_SID_KEY))


def hold(request: HttpRequest) -> bool:
    """Return whether the login session of a browser has not ended, and lock it for the caller's transaction.

    One that has none yet is not held up. The caller has locked the user's row.
    """
    session = _session_of(request)
    if session is None:
        return not hasattr(request, "session") or SID_KEY not in request.session
    return login_sessions.hold(session) or session.termination_reason in KEEPS_BROWSER


def _note_seen(session: LoginSession, authenticated_at: datetime) -> bool:
    return _note(session, partial(login_sessions.note_seen, session, authenticated_at))


def _note(session: LoginSession, write: Callable[[], bool]) -> bool:
    def note() -> bool:
        # First, as everywhere: a site may have the whole request in one transaction (ATOMIC_REQUESTS).
        users.share(session.user_id)
        return write()

    return in_transaction(note)


def _authenticated_at(request: HttpRequest) -> datetime:
    seconds = request.session.get(AUTHENTICATED_KEY)
    if isinstance(seconds, int):
        return moments.at(seconds)
    # A login from before this app was installed, or one that sends no signal.
    last_login: datetime | None = getattr(request.user, "last_login", None)
    return last_login or timezone.now()
