"""What has to be true of the claims of an access token, or of what introspection says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import Any, Final

from oauth_binding.core.setting_rules import is_number, is_text, is_text_or_list
from oauth_binding.resource_server.errors import ExpiredTokenError, RefusedTokenError
from oauth_binding.resource_server.settings import resource_server_settings

_TEXTS: Final = ("iss", "sub", "client_id", "jti", "binding_type", "binding_ref")
_DATES: Final = ("exp", "iat", "nbf")

#: The last second that Python has a date for.
_LAST_DATE: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def check_types(claims: dict[str, Any]) -> None:
    """Check that the claims that are there are of their types (RFC 7519 section 4.1, RFC 9068 section 2.2).

    :raises ValueError: one is not; the message has its name.
    """
    for name, value in claims.items():
        if name in _TEXTS and not is_text(value):
            raise ValueError(f"its {name} is not a text")
        if name in _DATES and not is_number(value, _LAST_DATE):
            raise ValueError(f"its {name} is not a date")
        if name == "scope" and not isinstance(value, str):
            raise ValueError("its scope is not a text")
        if name == "aud" and not is_text_or_list(value):
            raise ValueError("its aud is neither a text nor a list of texts")
    if ("binding_type" in claims) is not ("binding_ref" in claims):
        raise ValueError("it has only one of binding_type and binding_ref")


def check_values(claims: dict[str, Any]) -> None:
    """Check that the claims that are there allow a token to be used here and now.

    :param claims: of the right types.
    :raises RefusedTokenError: they do not.
    """
    now, leeway = time(), resource_server_settings.leeway
    if claims.get("exp", _LAST_DATE) <= now - leeway:
        raise ExpiredTokenError
    if max(claims.get("iat", 0), claims.get("nbf", 0)) > now + leeway:
        raise RefusedTokenError("it is not valid yet")
    issuer = resource_server_settings.issuer
    if claims.get("iss", issuer) != issuer:
        raise RefusedTokenError("its iss is not ISSUER")
    accepted = resource_server_settings.audience
    if "aud" in claims and accepted:
        audiences = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        if accepted.isdisjoint(audiences):
            raise RefusedTokenError("its aud does not have AUDIENCE")
