"""JWT access tokens after RFC 9068."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import jwt
from django.core.exceptions import ImproperlyConfigured
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.claim_sources import REGISTERED_CLAIMS
from oauth_binding.core.errors import MisconfiguredError
from oauth_binding.core.jose import jws
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason

if TYPE_CHECKING:
    from oauthlib.common import Request

logger = logging.getLogger(__name__)


def encode(
    request: Request,
    *,
    subject: str,
    issued_at: int,
    expires_at: int,
    jti: str,
    resources: list[str],
    user_claims: dict[str, Any],
    provenance: dict[str, Any],
) -> str:
    """Return a signed access token (RFC 9068 section 2).

    :param request: the token or authorization request; it gives client, scopes and issuer.
    :param subject: the ``sub`` claim.
    :param issued_at: seconds since the epoch.
    :param expires_at: seconds since the epoch.
    :param jti: the claim of that name (RFC 7519 section 4.1.7).
    :param resources: resource indicators (RFC 8707) for ``aud``; without any, the issuer is the audience
        (RFC 9068 section 3 asks for a default).
    :param user_claims: the claims that the application's policy chooses; the site's validator may override
        them.
    :param provenance: ``binding_type`` and ``binding_ref`` of a bound token, ``act`` of a delegated one.
    :raises MisconfiguredError: the site has no usable signing key (``manage.py check``: E008, E009, E015).
    """
    try:
        key = get_signing_key(request.client.access_token_algorithm)
    except ImproperlyConfigured as error:
        logger.error("No JWT access token for client %s: %s", one_line(request.client.client_id), error)
        raise MisconfiguredError(
            Reason.MISCONFIGURED,
            description="JWT access tokens are not set up on this server.",
            request=request,
        ) from error
    issuer = get_issuer(request)
    claims = {
        **user_claims,
        **_additional_claims(request),
        "iss": issuer,
        "exp": expires_at,
        "iat": issued_at,
        "jti": jti,
        "aud": audience(issuer, resources),
        "sub": subject,
        "client_id": request.client.client_id,
        "scope": " ".join(request.scopes or ()),
        **provenance,
    }
    headers = {"typ": jws.ACCESS_TOKEN_TYPE, "kid": key.kid}
    return jwt.encode(claims, key.private_key, algorithm=key.algorithm, headers=headers)


def audience(issuer: str, resources: list[str]) -> str | list[str]:
    """Return the ``aud`` claim: one audience is a string, several are a list (RFC 7519 section 4.1.3)."""
    audiences = resources or [issuer]
    return audiences[0] if len(audiences) == 1 else list(audiences)


def read_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of an access token without verifying it, or None if it is not a JWT access token.

    Only for a token that is in this server's database.
    """
    return jws.unverified_claims(token) if is_jwt_access_token(token) else None


def is_jwt_access_token(token: str) -> bool:
    """Return whether a token calls itself a JWT access token in its ``typ`` header (RFC 9068 section 2.1)."""
    try:
        return jws.unverified_header(token).get("typ") == jws.ACCESS_TOKEN_TYPE
    except (ValueError, RecursionError):
        return False


def _additional_claims(request: Request) -> dict[str, Any]:
    claims: dict[str, Any] = oauth2_settings.OAUTH2_VALIDATOR_CLASS().get_additional_access_token_claims(
        request
    )
    for name in sorted(REGISTERED_CLAIMS & claims.keys()):
        logger.warning("get_additional_access_token_claims() may not set %s", name)
    return {name: value for name, value in claims.items() if name not in REGISTERED_CLAIMS}
