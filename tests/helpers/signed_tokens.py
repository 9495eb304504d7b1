"""JWTs for an API elsewhere, with right signatures over anything."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt

from tests.helpers.resource_server import (
    AUDIENCE,
    ISSUER,
)
from tests.helpers.servers import RSA_KEY


def valid_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "mobile",
        "iat": at(0),
        "exp": at(600),
        "jti": "token-1",
        "scope": "read",
    }


def signed(payload: str | bytes, **headers: Any) -> str:
    """Return a JWS with a right signature over anything."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "one", **headers}
    return sign(encoded(header), payload if isinstance(payload, bytes) else payload.encode())


def sign(header: str, payload: bytes) -> str:
    text = f"{header}.{base64url(payload)}"
    algorithm: Any = jwt.get_algorithm_by_name("RS256")
    return f"{text}.{base64url(algorithm.sign(text.encode(), RSA_KEY))}"


def encoded(part: Any) -> str:
    return base64url(json.dumps(part).encode())


def at(seconds: float) -> int:
    return int(time.time() + seconds)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
