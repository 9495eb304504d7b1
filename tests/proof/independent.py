"""A second opinion of proofs, which shares no code with the app: RFC 9449 section 4.3 with joserfc.

What the app accepts and this refuses is a fault of one of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import warnings
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from joserfc import jwk, jws
from joserfc.errors import JoseError, SecurityWarning

#: What the app is configured with.
ALGORITHMS = ["ES256", "EdDSA", "PS256"]

#: What a private or a symmetric key has (RFC 7518 section 6, RFC 8037 section 2).
SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

#: What a public key is made of.
MEMBERS = {"kty", "crv", "x", "y", "n", "e"}


class Registry(jws.JWSRegistry):
    """Takes headers that have a key in them, and ignores what else they have (RFC 7515 section 4)."""

    max_header_length = 4096

    def check_header(self, header: Any) -> None:
        pass


def thumbprint_of(text: str, *, method: str, uri: str, access_token: str | None = None) -> str | None:
    """Return the thumbprint of the key that a proof is good for, or None where it is not good."""
    with warnings.catch_warnings():
        # EdDSA, whose name RFC 9864 deprecates.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return _check(text.encode("ascii"), method, uri, access_token)
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
            return None


def _check(text: bytes, method: str, uri: str, access_token: str | None) -> str:
    registry = Registry(algorithms=ALGORITHMS)
    header = jws.extract_compact(text, registry=registry).headers()
    assert header["typ"] == "dpop+jwt"
    assert header["alg"] in ALGORITHMS
    assert "crit" not in header
    assert not SECRET_MEMBERS & header["jwk"].keys()
    assert header["jwk"].get("use", "sig") == "sig"
    assert header["jwk"].get("alg", header["alg"]) == header["alg"]
    key: Any = jwk.import_key({name: value for name, value in header["jwk"].items() if name in MEMBERS})
    assert key.key_type != "RSA" or key.raw_value.key_size >= 2048
    claims = json.loads(jws.deserialize_compact(text, key, registry=registry).payload)
    now = time.time()
    assert isinstance(claims["jti"], str)
    assert 1 <= len(claims["jti"]) <= 256
    assert claims["htm"] == method
    assert _parts(claims["htu"]) == _parts(uri)
    assert type(claims["iat"]) in (int, float)
    # A second for what passes between the two.
    assert now - 61 <= claims["iat"] <= now + 11
    assert now - 1 < claims.get("exp", now)
    assert claims.get("nbf", now) <= now + 11
    if access_token is not None:
        digest = hashlib.sha256(access_token.encode("ascii")).digest()
        assert claims["ath"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return str(key.thumbprint())


def _parts(uri: str) -> tuple[str, str | None, int | None, bytes]:
    """Return what has to be the same of two addresses (RFC 9449 section 4.3, RFC 3986 section 6.2.2)."""
    parts = urlsplit(uri)
    assert parts.scheme in ("http", "https")
    assert parts.username is None
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return parts.scheme, parts.hostname, port, _without_dots(unquote_to_bytes(parts.path) or b"/")


def _without_dots(path: bytes) -> bytes:
    """Return a path without dot segments, by the steps of RFC 3986 section 5.2.4."""
    output = b""
    while path:
        if path.startswith((b"/./", b"/../")):
            if path.startswith(b"/../"):
                output = output[: output.rfind(b"/")] if b"/" in output else b""
            path = path[path.index(b"/", 1) :]
        elif path in (b"/.", b"/.."):
            if path == b"/..":
                output = output[: output.rfind(b"/")] if b"/" in output else b""
            path = b"/"
        else:
            end = path.find(b"/", 1)
            output, path = output + (path if end < 0 else path[:end]), b"" if end < 0 else path[end:]
    return output
