"""JWT access tokens, validated without asking the server for each (RFC 9068 section 4)."""

from __future__ import annotations

from typing import Any, Final

import jwt

from oauth_binding.core.jose import jws
from oauth_binding.core.jose.jwk_sets import KeysUnavailableError, remote_jwk_set
from oauth_binding.core.jose.remote_document import MALFORMED
from oauth_binding.resource_server import claim_rules
from oauth_binding.resource_server.errors import RefusedTokenError, ServerUnavailableError
from oauth_binding.resource_server.settings import resource_server_settings

#: The claims that a token has to have (RFC 9068 section 2.2).
REQUIRED: Final = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")


def validate(text: str) -> dict[str, Any]:
    """Return the claims of a valid JWT access token.

    The keys are those of ``JWKS_URL``. They are fetched again every five minutes, and for unknown keys at
    most once in ten seconds; as long as they can't be fetched, the last ones are used.

    :raises RefusedTokenError: it is not one, or not for this API, here and now.
    :raises ServerUnavailableError: the keys could not be fetched yet.
    """
    try:
        claims = jws.read(
            text,
            types=(jws.ACCESS_TOKEN_TYPE,),
            algorithms=resource_server_settings.algorithms,
            find_key=remote_jwk_set(resource_server_settings.jwks_url).find_key,
        )
        check_claims(claims)
    except KeysUnavailableError:
        raise ServerUnavailableError from None
    except (jwt.PyJWTError, *MALFORMED) as error:
        raise RefusedTokenError(f"{error} ({type(error).__name__})") from None
    claim_rules.check_values(claims)
    return claims


def check_claims(claims: dict[str, Any]) -> None:
    """Check that the required claims are present, and that all have the right types.

    :raises RefusedTokenError: one is missing.
    :raises ValueError: one has another type.
    """
    missing = [name for name in REQUIRED if name not in claims]
    if missing:
        raise RefusedTokenError(f"it has no {missing[0]}")
    claim_rules.check_types(claims)
