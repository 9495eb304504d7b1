"""The rows of login sessions: found, held while something is issued in them, and ended."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q
from django.utils import timezone

from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import (
    SSO_SESSION,
    LoginSession,
    LoginSessionClient,
    TerminationReason,
    TokenExchange,
    sighting,
)
from oauth_binding.storage import prepared_sql

#: ``LoginSession.last_seen`` is behind by at most this much, so that looking at pages seldom writes.
LAST_SEEN_RESOLUTION: Final = timedelta(minutes=5)

#: ``LoginSession.expires`` may be off by this much, but not shortly before it is reached.
EXPIRY_RESOLUTION: Final = timedelta(minutes=5)


def find(sid: Any) -> LoginSession | None:
    """Return the login session with a given ``sid``, whether or not it goes on, or None.

    :param sid: as a UUID or a text; any other text finds none.
    """
    try:
        wanted = uuid.UUID(str(sid))
    except ValueError:
        return None
    session: LoginSession | None = prepared_sql.find(write_alias(LoginSession), LoginSession, "sid", wanted)
    return session


def is_live(sid: Any) -> bool:
    """Return whether a login session goes on; one that does not exist has ended.

    :param sid: as for ``find``.
    """
    session = find(sid)
    return session is not None and session.is_live


def live_sessions() -> Q:
    """Return the condition of login sessions that have neither ended nor expired."""
    return Q(terminated_at__isnull=True, expires__gt=timezone.now())


def begin(session: LoginSession) -> LoginSession | None:
    """Save a login session, unless another request has, and return the one that now has its ``sid``."""
    written(LoginSession).bulk_create([session], ignore_conflicts=True)
    return find(session.sid)


def hold(session: LoginSession) -> bool:
    """Lock a login session for the transaction that issues in it, and return whether it has not ended.

    Its ``facts`` are kept. The lock is a write: a cluster that certifies transactions when they commit knows
    no other.
    """
    return _write(session, last_seen=timezone.now(), **sighting("last", session.facts))


def note_seen(session: LoginSession, authenticated_at: datetime) -> bool:
    """Note that a login session was seen, with its ``facts``, and return whether it has not ended.

    :param authenticated_at: when the user last signed in in that browser.
    """
    session.last_seen, session.authenticated_at = timezone.now(), authenticated_at
    seen = sighting("last", session.facts)
    return _write(session, last_seen=session.last_seen, authenticated_at=authenticated_at, **seen)


def note_expiry(session: LoginSession, expires: datetime) -> bool:
    """Note when a login session expires, and return whether it has not ended.

    :param expires: when Django's session does.
    """
    return _write(session, expires=expires)


def _write(session: LoginSession, **values: Any) -> bool:
    """Write columns of a login session that has not ended, and return whether it has not."""
    return bool(written(LoginSession).filter(pk=session.pk, terminated_at__isnull=True).update(**values))


def is_about(session: LoginSession, expires: datetime) -> bool:
    """Return whether the known expiry of a login session is near enough to the real one."""
    soon = timezone.now() + EXPIRY_RESOLUTION
    return session.expires >= soon and abs(session.expires - expires) <= EXPIRY_RESOLUTION


def note_client(session: LoginSession, application: Any, sub: str) -> None:
    """Note that an application got an ID token in a login session.

    :param sub: that of the ID token.
    """
    written(LoginSessionClient).bulk_create(
        [LoginSessionClient(session=session, application=application, sub=sub)], ignore_conflicts=True
    )


def has_client(session: LoginSession, application: Any) -> bool:
    """Return whether an application got an ID token in a login session."""
    return bool(written(LoginSessionClient).filter(session=session, application=application).exists())


def terminate(pks: Collection[int], reason: TerminationReason) -> list[LoginSession]:
    """End login sessions, and return those that had not ended before.

    :param pks: their primary keys. They are sessions of one user, whose row the caller has locked.
    """
    rows, now = written(LoginSession).filter(pk__in=pks, terminated_at__isnull=True), timezone.now()
    if reason == TerminationReason.EXPIRED:
        rows = rows.filter(expires__lte=now)  # one may have been prolonged meanwhile
    sessions = list(rows.order_by("pk"))
    rows.filter(pk__in=[session.pk for session in sessions]).update(
        terminated_at=now, termination_reason=reason
    )
    for session in sessions:
        session.terminated_at, session.termination_reason = now, reason
    return sessions


def sid_of(token: Any, exchange: TokenExchange | None) -> Any:
    """Return the ``sid`` of the login session that limits a token, or None: there is none.

    :param token: the row of an access or refresh token.
    :param exchange: what it was exchanged from, if anything.
    """
    binding = token.binding
    if binding is not None and binding.binding_type == SSO_SESSION and not binding.is_shared:
        return binding.binding_value
    return None if exchange is None else exchange.session_sid
