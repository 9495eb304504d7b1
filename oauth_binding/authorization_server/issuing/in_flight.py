"""Requests in flight: has what they were validated by ended before they save?

What has a row (a refresh token, a code, a token that is exchanged) is consumed or read again in the
transaction that issues. For what has none (a password, a browser's session), the user's row is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.authorization_server.issuing.request_state import browser_session, state_of, user_of
from oauth_binding.core.errors import AccessDeniedError, InvalidGrantError
from oauth_binding.core.reasons import Reason
from oauth_binding.storage import login_sessions, users
from oauth_binding.storage.attempts import OutdatedError

if TYPE_CHECKING:
    from oauthlib.common import Request


class UserChangedError(OutdatedError):
    """The password of a user, or only its hash, has changed since the user was authenticated."""


def check_user(request: Request) -> None:
    """Check a request's user and login session again, and take a shared lock on the user's row.

    A request that itself ends tokens of the user takes an exclusive lock.

    Whatever ends the user's tokens waits for this transaction from now on, and then finds what it has issued.

    :param request: one that was validated.
    :raises OAuth2Error: the user is gone or no longer active.
    :raises UserChangedError: the request was validated by the user's password or session, which has changed.
    """
    user = user_of(request)
    if user is None:
        return
    state = state_of(request)
    check_locked_user(request, users.lock(user.pk) if state.signs_devices_out else users.share(user.pk))


def check_locked_user(request: Request, current: users.LockedUser | None) -> None:
    """Check user and login session of a request again, whose user's row is locked.

    :param request: as for ``check_user``, which raises the same.
    :param current: what the row says; None where it is gone.
    """
    user, state = user_of(request), state_of(request)
    has_row = any((state.refresh_token, state.code, state.device_code, state.exchange))
    if current is None or not current.is_active:
        raise refusal(request)
    if not has_row and _has_other_password(user, current):
        raise UserChangedError
    session = browser_session(request)
    if session is not None and not login_sessions.hold(session):
        raise refusal(request)


def is_as_authenticated(user: Any) -> bool:
    """Return whether a user is active and still has the password that the instance was read with.

    It locks the user's row as ``check_user`` does.

    :param user: whose session it is.
    """
    current = users.share(user.pk)
    return current is not None and current.is_active and not _has_other_password(user, current)


def _has_other_password(user: Any, current: users.LockedUser) -> bool:
    return current.password is not None and current.password != user.password


def refusal(request: Request) -> OAuth2Error:
    """Return the error of a request whose user has changed since it was validated."""
    error = InvalidGrantError if state_of(request).is_token_request else AccessDeniedError
    return error(Reason.USER_CHANGED, description="The user has changed in the meantime.", request=request)
