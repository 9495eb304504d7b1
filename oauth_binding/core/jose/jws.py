"""Signed JWTs, read strictly: one form, one meaning, and a signature."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from typing import Any, Final

import jwt

from oauth_binding.core.jose.strict_json import read_object

#: The ``typ`` header of access tokens (RFC 9068 section 2.1).
ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105

#: The ``typ`` header of the revocation feed, which no access token has (RFC 8725 section 3.11).
REVOKED_TOKENS_TYPE: Final = "revoked-tokens+jwt"

_BASE64URL: Final = re.compile("[A-Za-z0-9_-]+")

#: What the last character may be, by the number of characters beyond groups of four (RFC 4648 section 3.5).
_LAST: Final = {2: "AQgw", 3: "AEIMQUYcgkosw048"}


def read(
    text: str,
    *,
    types: Collection[str],
    algorithms: Collection[str],
    find_key: Callable[[str | None, str], jwt.PyJWK],
) -> dict[str, Any]:
    """Return the claims of a JWT whose signature is right; the claims themselves are not checked here.

    :param text: in the compact serialization (RFC 7515 section 3.1).
    :param types: the allowed values of its ``typ`` header (RFC 8725 section 3.11), in the form of
        ``media_type``; an empty text stands for a missing one.
    :param algorithms: the allowed values of its ``alg`` header.
    :param find_key: returns the key for a ``kid``, or None, and an ``alg``.
    :raises jwt.PyJWTError, ValueError, RecursionError: it is not such a JWT; also what ``find_key`` raises.
    """
    parts = split(text)
    header = read_header(parts[0], types=types, algorithms=algorithms)
    return read_payload(parts, find_key(header.get("kid"), header["alg"]))


def split(text: str) -> list[str]:
    """Return header, payload and signature of a JWT; nothing but their base64url is checked.

    :raises jwt.DecodeError: it does not have these three.
    """
    parts = text.split(".")
    if len(parts) != 3 or not all(map(is_base64url, parts)):
        raise jwt.DecodeError("it is not a signed JWT")
    return parts


def read_header(part: str, *, types: Collection[str], algorithms: Collection[str]) -> dict[str, Any]:
    """Return the header of a JWT; its signature is not checked here.

    :param part: the first part of the JWT.
    :raises jwt.PyJWTError, ValueError, RecursionError: it is not the header of a JWT that ``read`` accepts.
    """
    header = read_object(_decode(part))
    if header.keys() & {"crit", "b64"}:  # RFC 7515 section 4.1.11, RFC 7797 section 6
        raise jwt.InvalidTokenError("it has critical headers, and none is understood")
    if media_type(header.get("typ")) not in types:
        raise jwt.InvalidTokenError("its typ is not accepted")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise jwt.InvalidAlgorithmError("its alg is not accepted")
    if not isinstance(header.get("kid", ""), str):  # RFC 7515 section 4.1.4
        raise jwt.InvalidTokenError("its kid is not a string")
    return header


def read_payload(parts: list[str], key: jwt.PyJWK) -> dict[str, Any]:
    """Return the claims of a JWT whose header was read; they are not parsed if its signature is wrong.

    :param parts: all three parts of the JWT.
    :param key: the key that must have signed it.
    :raises jwt.PyJWTError, ValueError, RecursionError: the key has not signed it, or these are not claims.
    """
    header_part, payload_part, signature_part = parts
    # Not with PyJWT's decode(), which would read the parts once more, byte by byte in Python.
    signed = f"{header_part}.{payload_part}".encode()
    if not key.Algorithm.verify(signed, key.key, _decode(signature_part)):
        raise jwt.InvalidSignatureError("its signature is wrong")
    return read_object(_decode(payload_part))


def media_type(typ: Any) -> str:
    """Return a ``typ`` header in a form to compare (RFC 7515 section 4.1.9); empty for a missing one.

    :raises jwt.InvalidTokenError: it is not a string.
    """
    if not isinstance(typ, str | None):
        raise jwt.InvalidTokenError("its typ is not a string")
    return (typ or "").lower().removeprefix("application/")


def is_jwt(text: str) -> bool:
    """Return whether a token looks like a signed JWT: three parts, the first of which is a JSON object."""
    parts = text.split(".")
    if len(parts) != 3 or not is_base64url(parts[0]):
        return False
    try:
        unverified_header(text)
    except (ValueError, RecursionError):
        return False
    return True


def unverified_header(text: str) -> dict[str, Any]:
    """Return the header of what may be a JWT; nothing else is checked.

    :raises ValueError, RecursionError: it has none.
    """
    return read_object(_decode(text.partition(".")[0]))


def unverified_issuer(text: str) -> Any:
    """Return the ``iss`` claim of what may be a JWT: it says whose keys must have signed it.

    :raises jwt.DecodeError, ValueError, RecursionError: it is not a JWT.
    """
    return read_object(_decode(split(text)[1])).get("iss")


def unverified_claims(text: str) -> dict[str, Any]:
    """Return the claims of a JWT that is known to be genuine.

    :raises ValueError, RecursionError: it has none.
    """
    return read_object(_decode(text.split(".")[1]))


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "==")


def is_base64url(part: str) -> bool:
    """Return whether a text is base64url without padding, in the only form for its bytes (RFC 4648)."""
    rest = len(part) % 4
    return bool(_BASE64URL.fullmatch(part)) and (rest == 0 or part[-1] in _LAST.get(rest, ""))
