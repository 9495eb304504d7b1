"""django-oauth-toolkit's ``ACCESS_TOKEN_GENERATOR`` and ``REFRESH_TOKEN_GENERATOR``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oauth_binding.authorization_server.issuing.plan import get_plan

if TYPE_CHECKING:
    from oauthlib.common import Request


def generate_access_token(request: Request, refresh_token: bool = False) -> str:
    """Return the access token to answer: a new opaque or JWT one, or the live one of the request's slot.

    :raises OAuth2Error: the request can't be answered.
    """
    return get_plan(request).access.text


def generate_refresh_token(request: Request, refresh_token: bool = False) -> str:
    """Return the refresh token to answer; always an opaque one."""
    return get_plan(request).refresh.text
