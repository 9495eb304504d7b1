"""Logouts: whatever ends Django's session ends the login session, whatever engine keeps the former."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.models import TerminationReason
from oauth_binding.sessions.browser import note_saved, sid_to_end
from oauth_binding.storage import login_sessions


def connect() -> None:
    """Have login sessions end and expire with Django's sessions.

    Django's sessions are flushed by a logout, by the login of another user in the same browser, and after the
    password was changed elsewhere. Only the first of these sends a signal while it is known what ends.
    """
    store: Any = import_module(settings.SESSION_ENGINE).SessionStore
    flush, aflush = store.flush, store.aflush

    @functools.wraps(flush)
    def end_and_flush(session: Any) -> None:
        # Before it happens: if this fails, the user is not told that they are logged out, and may try again.
        sid = sid_to_end(session)
        has_begun = _end(sid)
        flush(session)
        if not has_begun:
            _end(sid)  # another request may have begun it before this one

    @functools.wraps(aflush)
    async def end_and_aflush(session: Any) -> None:
        sid = await sync_to_async(sid_to_end)(session)
        has_begun = await sync_to_async(_end)(sid)
        await aflush(session)
        if not has_begun:
            await sync_to_async(_end)(sid)

    save, asave = store.save, store.asave

    @functools.wraps(save)
    def save_and_note(session: Any, must_create: bool = False) -> None:
        save(session, must_create=must_create)
        note_saved(session)

    @functools.wraps(asave)
    async def asave_and_note(session: Any, must_create: bool = False) -> None:
        await asave(session, must_create=must_create)
        await sync_to_async(note_saved)(session)

    store.flush, store.aflush = end_and_flush, end_and_aflush
    store.save, store.asave = save_and_note, asave_and_note


def _end(sid: Any) -> bool:
    """End a login session, and return whether there is one."""
    session = None if sid is None else login_sessions.find(sid)
    if session is not None:
        end_session(session, TerminationReason.LOGOUT)
    return session is not None
