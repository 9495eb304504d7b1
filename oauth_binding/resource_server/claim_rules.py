"""What has to be true of the claims of an access token, or of what introspection says about it."""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import Any, Final

from oauth_binding.binding.confirmation import JWK_THUMBPRINT, Confirmation, is_thumbprint
from oauth_binding.core.jose import claims as registered
from oauth_binding.resource_server.errors import ExpiredTokenError, RefusedTokenError
from oauth_binding.resource_server.settings import resource_server_settings

_TEXTS: Final = ("iss", "sub", "client_id", "jti", "binding_type", "binding_ref")


def check_types(claims: dict[str, Any]) -> None:
    """Check that the claims that are there are of their types (RFC 7519 section 4.1, RFC 9068 section 2.2).

    :raises ValueError: one does not; the message has its name.
    """
    registered.check_types(claims, _TEXTS)
    if not isinstance(claims.get("scope", ""), str):
        raise ValueError("its scope is not a string")
    if ("binding_type" in claims) is not ("binding_ref" in claims):
        raise ValueError("it has only one of binding_type and binding_ref")
    _check_confirmation(claims.get("cnf", {}))


def check_values(claims: dict[str, Any]) -> None:
    """Check that the claims that are present allow a token to be used here and now.

    :param claims: of the right types.
    :raises RefusedTokenError: they do not.
    """
    for _name, error in value_faults(claims):
        raise error


def value_faults(claims: dict[str, Any]) -> Iterator[tuple[str, RefusedTokenError]]:
    """Yield why the claims that are present do not allow that, each reason with the claim that it is about.

    :param claims: of the right types.
    """
    now, leeway = time(), resource_server_settings.leeway
    if claims.get("exp", registered.LAST_DATE) <= now - leeway:
        yield "exp", ExpiredTokenError()
    if registered.valid_from(claims) > now + leeway:
        yield "nbf", RefusedTokenError("it is not valid yet")
    issuer = resource_server_settings.issuer
    if claims.get("iss", issuer) != issuer:
        yield "iss", RefusedTokenError("its iss is not ISSUER")
    accepted = resource_server_settings.audience
    if "aud" in claims and accepted and not registered.is_for(claims, accepted):
        yield "aud", RefusedTokenError("its aud does not have AUDIENCE")
    confirmation = Confirmation.from_claims(claims)
    if confirmation is not None and confirmation.member != JWK_THUMBPRINT:
        # It is not a bearer token, and how to prove it is not known here.
        yield "cnf", RefusedTokenError("its cnf has members other than jkt")


def _check_confirmation(confirmation: Any) -> None:
    """Check the type of a ``cnf`` (RFC 7800 section 3.1), and of its ``jkt`` (RFC 9449 section 6.1).

    :raises ValueError: the type is another; the message has the name.
    """
    if not isinstance(confirmation, dict):
        raise ValueError("its cnf is not an object")
    if JWK_THUMBPRINT not in confirmation:
        return
    thumbprint = confirmation[JWK_THUMBPRINT]
    if not (isinstance(thumbprint, str) and is_thumbprint(thumbprint)):
        raise ValueError("the jkt of its cnf is not a thumbprint")
