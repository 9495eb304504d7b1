"""What ID tokens say about the browser in which a user has signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauth_binding.authorization_server.issuing.request_state import browser_session, state_of
from oauth_binding.core.databases import written
from oauth_binding.models import MAX_SUBJECT_LENGTH, LoginSession
from oauth_binding.storage import login_sessions
from oauth_binding.storage.logins import login_started

if TYPE_CHECKING:
    from datetime import datetime

    from oauthlib.common import Request


def add_login_session(claims: dict[str, Any], request: Request) -> None:
    """Add ``sid`` and ``auth_time`` to the claims of an ID token, if it comes from a browser.

    The application that gets it is noted as one that has to be told when the login session ends. Without a
    browser, ``auth_time`` is what django-oauth-toolkit makes it: the user's last login anywhere.

    :param claims: those of the ID token (OpenID Connect Core section 2, OpenID Connect Back-Channel Logout
        1.0 section 2.4).
    """
    session, authenticated_at = _login_of(request)
    if session is None:
        return
    claims["sid"] = str(session.sid)
    claims.pop("auth_time", None)
    if authenticated_at is not None:
        claims["auth_time"] = int(authenticated_at.timestamp())
    sub = str(claims.get("sub", ""))
    if state_of(request).refresh_token is None and 0 < len(sub) <= MAX_SUBJECT_LENGTH:
        login_sessions.note_client(session, request.client, sub)


def _login_of(request: Request) -> tuple[LoginSession | None, datetime | None]:
    """Return the login session of a request, and when its user signed in, as far as that is known."""
    state = state_of(request)
    if state.refresh_token is not None:
        session = written(LoginSession).filter(pk=state.refresh_token.binding_session_id).first()
        # That of the login that is refreshed (section 12.2), and not of a later one.
        is_of_login = session is not None and session.authenticated_at <= login_started(state.refresh_token)
        return session, session.authenticated_at if is_of_login else None
    if state.code_context is not None:
        return state.code_context.session, state.code_context.authenticated_at
    session = browser_session(request)
    return session, None if session is None else session.authenticated_at
