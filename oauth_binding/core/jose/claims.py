"""Claims of JWTs that somebody else has written: their types, when they hold, and whom they are for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from oauth_binding.core.setting_rules import is_number, is_text, is_text_or_list

#: The claims that are dates (RFC 7519 section 4.1).
_DATES: Final = ("exp", "iat", "nbf")

#: The last second for which Python has a date.
LAST_DATE: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def check_types(claims: Mapping[str, Any], texts: Collection[str]) -> None:
    """Check that the claims that are present have the right types: dates, ``aud``, and some texts.

    A date is a number of seconds from the epoch on, with or without a fraction (RFC 7519 section 2,
    NumericDate); true is not one, nor is a text with digits.

    :param texts: the names of those that have to be texts that are not empty.
    :raises ValueError: one has the wrong type; the message has its name.
    """
    for name in texts:
        if name in claims and not is_text(claims[name]):
            raise ValueError(f"its {name} is not a string")
    for name in _DATES:
        if name in claims and not is_number(claims[name], LAST_DATE):
            raise ValueError(f"its {name} is not a date")
    if "aud" in claims and not is_text_or_list(claims["aud"]):
        raise ValueError("its aud is neither a string nor a list of strings")


def valid_from(claims: Mapping[str, Any]) -> float:
    """Return from when a token is valid, in seconds since the epoch: the later of ``iat`` and ``nbf``.

    :param claims: of the right types; without these two, it is valid from the epoch on.
    """
    return float(max(claims.get("iat", 0), claims.get("nbf", 0)))


def is_for(claims: Mapping[str, Any], accepted: Collection[str]) -> bool:
    """Return whether one of some audiences is in ``aud`` (RFC 7519 section 4.1.3).

    :param claims: of the right types, with an ``aud``.
    """
    audiences = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
    return any(audience in accepted for audience in audiences)
