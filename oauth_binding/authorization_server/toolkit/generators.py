"""django-oauth-toolkit's ``ACCESS_TOKEN_GENERATOR`` and ``REFRESH_TOKEN_GENERATOR``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oauth_binding.authorization_server.issuing.plan import get_plan

if TYPE_CHECKING:
    from oauthlib.common import Request


def generate_access_token(request: Request, refresh_token: bool = False) -> str:
    """Return the access token to answer with: a new opaque or JWT one, or the live one of the request's slot.

    :param request: oauthlib's token or authorization request, validated.
    :param refresh_token: ignored; it is there because oauthlib's own generators have it.
    :raises OAuth2Error: the request can't be answered (RFC 6749 section 5.2).
    """
    return get_plan(request).access.text


def generate_refresh_token(request: Request, refresh_token: bool = False) -> str:
    """Return the refresh token to answer with; always an opaque one.

    :param request: oauthlib's token request, validated.
    :param refresh_token: ignored, as in ``generate_access_token``.
    :raises OAuth2Error: the request can't be answered (RFC 6749 section 5.2).
    """
    return get_plan(request).refresh.text
