"""The parameters of a token exchange request (RFC 8693 section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oauth_binding.binding.semantics import TokenType
from oauth_binding.core.errors import InvalidRequestError
from oauth_binding.core.reasons import Reason

if TYPE_CHECKING:
    from oauthlib.common import Request


#: The ``grant_type`` (RFC 8693 section 2.1).
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"

#: Token type identifiers (RFC 8693 section 3).
TYPE_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"

TYPE_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"

TYPE_REFRESH: Final = "urn:ietf:params:oauth:token-type:refresh_token"

TYPE_ID: Final = "urn:ietf:params:oauth:token-type:id_token"

#: The types that each parameter that names a type may name.
_SUPPORTED: Final = {
    "subject_token_type": {TYPE_ACCESS, TYPE_JWT, TYPE_REFRESH, TYPE_ID},
    "actor_token_type": {TYPE_ACCESS, TYPE_JWT},
    "requested_token_type": {TYPE_ACCESS, TYPE_JWT, TYPE_REFRESH},
}


def check_parameters(request: Request) -> None:
    """Check what a token exchange request has, before anything is looked up (RFC 8693 section 2.1).

    :raises InvalidRequestError: a parameter is missing, or asks for what is not supported.
    """
    for name in ("subject_token", "subject_token_type"):
        if not value_of(request, name):
            raise InvalidRequestError(
                Reason.PARAMETER_MISSING, description=f"Missing {name} parameter.", request=request
            )
    if bool(value_of(request, "actor_token")) is not bool(value_of(request, "actor_token_type")):
        raise InvalidRequestError(
            Reason.PARAMETER_MISSING,
            description="actor_token and actor_token_type must be sent together.",
            request=request,
        )
    for name, supported in _SUPPORTED.items():
        if value_of(request, name) and value_of(request, name) not in supported:
            raise InvalidRequestError(
                Reason.PARAMETER_INVALID, description=f"This {name} is not supported.", request=request
            )
    is_jwt_client = TokenType(request.client.token_type) is TokenType.JWT
    if value_of(request, "requested_token_type") == TYPE_JWT and not is_jwt_client:
        raise InvalidRequestError(
            Reason.PARAMETER_INVALID,
            description="requested_token_type: the access tokens of this client are not JWTs.",
            request=request,
        )


def issued_token_type(request: Request) -> str:
    """Return the ``issued_token_type`` of the answer (RFC 8693 section 2.2.1)."""
    return value_of(request, "requested_token_type") or TYPE_ACCESS


def values_of(request: Request, name: str) -> list[str]:
    return [value for key, value in request.decoded_body or () if key == name]


def value_of(request: Request, name: str) -> str:
    return next(iter(values_of(request, name)), "")
