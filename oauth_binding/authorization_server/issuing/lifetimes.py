"""How long the tokens of a request live: the least of all limits that apply."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from oauth_binding.authorization_server.issuing.request_state import state_of, user_of
from oauth_binding.core.errors import InvalidGrantError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import policy_of
from oauth_binding.storage.logins import login_end, login_lifetime, login_started

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundRefreshToken


def with_policy(site: int | Callable[[Request], int]) -> Callable[[Request], int]:
    """Return the lifetime of access tokens as a function of the request, as oauthlib takes one.

    :param site: the site's, in seconds. A number holds for applications that have none of their own; what a
        function returns is a limit for all applications.
    """

    def lifetime(request: Request) -> int:
        if callable(site):
            return limit_lifetime(request, site(request))
        own = _own_lifetime(request)
        return limit_lifetime(request, site if own is None else own)

    return lifetime


def limit_lifetime(request: Request, seconds: int) -> int:
    """Return how long the access token of a request is valid, in seconds.

    :param seconds: what the site's own code or settings say; the application's policy, the login, and the
        token that is exchanged may allow less.
    :raises InvalidGrantError: the login is over, or the token that is exchanged has expired or is about to.
    """
    own = _own_lifetime(request)
    if own is not None:
        seconds = min(seconds, own)
    latest = latest_expiry(request)
    if latest is None:
        return seconds
    left = int((latest - timezone.now()).total_seconds())
    if left < 1:
        exchange = state_of(request).exchange
        is_expired = exchange is not None and exchange.expires == latest
        if is_expired:
            raise InvalidGrantError(
                Reason.SUBJECT_TOKEN_INVALID, description="The subject_token has expired.", request=request
            )
        raise InvalidGrantError(Reason.LOGIN_TOO_OLD, description="The login has ended.", request=request)
    return min(seconds, left)


def latest_expiry(request: Request) -> datetime | None:
    """Return when the tokens of a request have to expire at the latest: with their login and their source."""
    exchange = state_of(request).exchange
    ends = [_end_of_login(request), None if exchange is None else exchange.expires]
    return min((end for end in ends if end is not None), default=None)


def continued_login(request: Request) -> datetime | None:
    """Return when the login that the tokens of a request continue began; None if it begins with them."""
    state = state_of(request)
    if state.exchange is not None:
        return state.exchange.login_started
    return None if state.refresh_token is None else login_started(state.refresh_token)


def check_login(request: Request, refresh_token: BoundRefreshToken) -> None:
    """Check that the login that a refresh token belongs to still goes on.

    :raises InvalidGrantError: it is over.
    """
    end = login_end(refresh_token)
    if end is not None and end < timezone.now() + timedelta(seconds=1):
        raise InvalidGrantError(Reason.LOGIN_TOO_OLD, description="The login has ended.", request=request)


def _own_lifetime(request: Request) -> int | None:
    policy, state = policy_of(request.client), state_of(request)
    return policy.token_lifetime(
        is_clients_own=user_of(request) is None, is_constrained=state.proof is not None
    )


def _end_of_login(request: Request) -> datetime | None:
    if user_of(request) is None:
        return None  # nobody has logged in
    state = state_of(request)
    exchange: Any = None if state.refresh_token is None else state.refresh_token.exchange
    if state.exchange is not None:
        exchange = state.exchange.record
    lifetime = login_lifetime(request.client, exchange)
    return None if lifetime is None else (continued_login(request) or timezone.now()) + lifetime
