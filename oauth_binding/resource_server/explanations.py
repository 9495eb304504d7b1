"""Whether and why an access token is good at this API, check by check: for ``manage.py explain``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt

from oauth_binding.core.jose import jws
from oauth_binding.core.jose.jwk_sets import KeysUnavailableError, remote_jwk_set
from oauth_binding.core.jose.remote_document import MALFORMED
from oauth_binding.core.log_lines import one_line
from oauth_binding.resource_server.bearer import BearerError
from oauth_binding.resource_server.claim_rules import value_faults
from oauth_binding.resource_server.errors import RefusedTokenError
from oauth_binding.resource_server.introspection_client import introspect
from oauth_binding.resource_server.jwt_validation import check_claims
from oauth_binding.resource_server.revocation_feed_client import revocation_feed
from oauth_binding.resource_server.settings import resource_server_settings
from oauth_binding.resource_server.verified_token import AccessToken


def explain(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the claims of an access token, if its signature is right, and what is wrong with it.

    :returns: the latter by the name of the check that found it: ``header`` (form, ``typ`` and ``alg``),
        ``key`` (``kid``), ``signature``, ``claims``, ``exp``, ``nbf``, ``iss``, ``aud``, ``cnf``, ``feed``,
        ``introspection`` and ``user``; empty if it is good.
    """
    settings = resource_server_settings
    claims: dict[str, Any] = {}
    if settings.validates_locally and not (settings.introspects and not jws.is_jwt(text)):
        faults = dict(_jwt_faults(text, claims))
        if faults or not settings.introspects or settings.revocation_feed_url:
            return claims, faults or dict(_user_faults(claims))
    try:
        answer = introspect(text)
    except BearerError as error:
        return claims, {"introspection": _said(error)}
    return answer, dict(_user_faults(answer))


def _jwt_faults(text: str, claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a JWT, and fill in the claims once its signature is known to be right."""
    settings = resource_server_settings
    check = "header"
    try:
        parts = jws.split(text)
        header = jws.read_header(parts[0], types=(jws.ACCESS_TOKEN_TYPE,), algorithms=settings.algorithms)
        check = "key"
        key = remote_jwk_set(settings.jwks_url).find_key(header.get("kid"), header["alg"])
        check = "signature"
        claims |= jws.read_payload(parts, key)
        check = "claims"
        check_claims(claims)
    except KeysUnavailableError:
        yield check, "the keys of JWKS_URL can't be fetched"
        return
    except (jwt.PyJWTError, RefusedTokenError, *MALFORMED) as error:
        yield check, _said(error)
        return
    for name, fault in value_faults(claims):
        yield name, fault.reason
    if settings.revocation_feed_url:
        try:
            revocation_feed(settings.revocation_feed_url).check(claims)
        except BearerError as error:
            yield "feed", _said(error)


def _user_faults(claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    user = resource_server_settings.get_user(AccessToken(claims))
    if not getattr(user, "is_active", True):
        yield "user", "its user is not active"


def _said(error: Exception) -> str:
    return error.reason if isinstance(error, RefusedTokenError) else one_line(error)
