"""A client's key, and the proofs that it signs (RFC 9449)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ORIGIN = "http://testserver"

#: What a 401 to a bearer token, or to a request without one, says beside the challenge for these.
OFFER = ', DPoP algs="ES256 EdDSA PS256"'


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def new_key(algorithm: str) -> Any:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


@dataclass
class DeviceKey:
    """A key that a device keeps to itself; every proof is a new one."""

    algorithm: str = "ES256"
    private_key: Any = None
    used: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.private_key = self.private_key or new_key(self.algorithm)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        jwk: dict[str, Any] = algorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        return {name: value for name, value in jwk.items() if name in {"kty", "crv", "x", "y", "n", "e"}}

    @property
    def thumbprint(self) -> str:
        """The ``jkt`` (RFC 7638)."""
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return _base64url(hashlib.sha256(text.encode()).digest())

    def proof(
        self,
        method: str,
        uri: str,
        *,
        access_token: str | None = None,
        nonce: str | None = None,
        header: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        drop: Collection[str] = (),
    ) -> str:
        """Return a new proof.

        :param uri: the address, or just the path on the test server.
        :param header: members of the header that are other than usual.
        :param claims: claims that are other than usual.
        :param drop: members of the header and claims that are left out.
        """
        address = uri if "://" in uri else ORIGIN + uri
        all_claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": address,
            "iat": int(time.time()),
        }
        if access_token is not None:
            all_claims["ath"] = _base64url(hashlib.sha256(access_token.encode()).digest())
        if nonce is not None:
            all_claims["nonce"] = nonce
        all_claims |= claims or {}
        all_header: dict[str, Any] = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk}
        all_header |= header or {}
        parts = [
            {name: value for name, value in each.items() if name not in drop}
            for each in (all_header, all_claims)
        ]
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        signature = algorithm.sign(signed.encode(), self.private_key)
        return f"{signed}.{_base64url(signature)}"

    def headers(self, method: str, uri: str, token: str, **options: Any) -> dict[str, str]:
        """Return the headers of an API request with a sender-constrained token."""
        proof = self.proof(method, uri, access_token=token, **options)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}
