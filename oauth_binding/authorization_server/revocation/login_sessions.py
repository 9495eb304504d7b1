"""Ending login sessions, with what has come from them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from django.db.models import Q
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.end import end
from oauth_binding.authorization_server.revocation.logout_queue import enqueue
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.signals import login_session_ended, send_after_commit
from oauth_binding.models import (
    OFFLINE_ACCESS,
    SSO_SESSION,
    LoginSession,
    RevokeOnLogout,
    TerminationReason,
    TokenBinding,
)
from oauth_binding.storage import codes, login_sessions, users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

#: The condition of applications whose tokens end with the login session that they came from.
ENDS_WITH_SESSION: Final = Q(token_policy__revoke_on_logout=RevokeOnLogout.SESSION)

#: The condition of applications whose tokens are bound to login sessions.
IS_BOUND: Final = Q(token_binding_type=SSO_SESSION)

#: The condition of applications for which a code is useless once its login session has ended.
FOLLOWS_SESSION: Final = ENDS_WITH_SESSION | IS_BOUND | Q(token_policy__backchannel_logout_uri__gt="")


def end_session(session: LoginSession, reason: TerminationReason) -> None:
    """End a login session for good.

    Tokens that are bound to it end. For applications that have chosen so (``revoke_on_logout``), those that
    came from it end, too, with the authorization codes that are not redeemed yet. Applications with a
    ``backchannel_logout_uri`` are told.

    :param session: one that may have ended already; nothing happens then.
    """
    end_sessions(session.user_id, [session.pk], reason)


def end_sessions_of(user: Any, reason: TerminationReason, *, keep: Iterable[int] = ()) -> None:
    """End all login sessions of a user, or all but some, as ``end_session`` does.

    :param user: the user's primary key.
    :param keep: the primary keys of those that go on.
    """
    sessions = written(LoginSession).filter(user=user, terminated_at__isnull=True).exclude(pk__in=[*keep])
    end_sessions(user, sessions.values_list("pk", flat=True), reason)


def end_sessions(user: Any, pks: Iterable[int], reason: TerminationReason) -> None:
    """End login sessions of a user, as ``end_session`` does, a few in each transaction.

    :param user: the user's primary key.
    :param pks: their primary keys.
    """
    for chunk in in_chunks(pks):
        in_transaction(partial(_end, user, chunk, reason))


def _end(user: Any, pks: list[int], reason: TerminationReason) -> None:
    users.lock(user)
    sessions = login_sessions.terminate(pks, reason)
    if not sessions:
        return
    has_expired = reason == TerminationReason.EXPIRED
    codes.end_codes_of_sessions(user, sessions, IS_BOUND if has_expired else FOLLOWS_SESSION)
    bindings = _bindings_of(user, sessions)
    bound = Q(binding__in=bindings)
    access = refresh = bound
    if not has_expired:
        came, offline = _came_from(sessions), _offline_tokens(sessions)
        access |= came & ~Q(pk__in=offline)
        refresh |= came & ~Q(access_token__in=offline) & ~Q(token_family__in=_families_of(offline))
    end(user, access, refresh, exchanges=Q(subject_binding__in=bindings), of_bindings=bindings)
    if not has_expired:
        enqueue([session.pk for session in sessions])
    for session in sessions:
        send_after_commit(login_session_ended, LoginSession, write_alias(LoginSession), session=session)


def _bindings_of(user: Any, sessions: list[LoginSession]) -> list[int]:
    """Return the primary keys of the bindings that are login sessions."""
    values = [str(session.sid) for session in sessions]
    bindings = written(TokenBinding).filter(user=user, binding_type=SSO_SESSION, binding_value__in=values)
    return list(bindings.values_list("pk", flat=True))


def _came_from(sessions: list[LoginSession]) -> Q:
    """Return the condition of access and refresh tokens that end with the sessions they came from."""
    these = written(get_application_model()).filter(ENDS_WITH_SESSION)
    return Q(binding_session__in=[session.pk for session in sessions], application__in=these)


def _offline_tokens(sessions: list[LoginSession]) -> list[Any]:
    """Return the primary keys of the access tokens of pairs that outlast the sessions they came from."""
    like = access_tokens().filter(_came_from(sessions), scope__contains=OFFLINE_ACCESS)
    return [pk for pk, scope in like.values_list("pk", "scope") if OFFLINE_ACCESS in scope.split()]


def _families_of(offline: list[Any]) -> list[Any]:
    """Return the families of pairs that go on: an exchange may also come from a pair that was used up.

    :param offline: the primary keys of the access tokens.
    """
    held = refresh_tokens().filter(access_token__in=offline, token_family__isnull=False)
    return list(held.values_list("token_family", flat=True))
