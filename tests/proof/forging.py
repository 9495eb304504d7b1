"""Proofs (RFC 9449 section 4.2) in which everything can be wrong, with a right signature all the same."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

#: What makes the key thumbprint (RFC 7638 section 3.2, RFC 8037 section 2), by ``kty``.
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


@dataclass(frozen=True)
class Key:
    """A key of a client's, and what it signs with."""

    algorithm: str
    private: Any

    @cached_property
    def jwk(self) -> dict[str, Any]:
        """The public key as a proof shows it."""
        return self._written(self.private.public_key())

    @cached_property
    def private_jwk(self) -> dict[str, Any]:
        """What nobody shows."""
        return self._written(self.private)

    @cached_property
    def thumbprint(self) -> str:
        """The ``jkt`` of tokens that are bound to it."""
        members = {name: self.jwk[name] for name in _REQUIRED[self.jwk["kty"]]}
        return base64url(
            hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
        )

    def sign(self, text: str, algorithm: str | None = None) -> bytes:
        """Sign a text, with another algorithm for the same key where one is named."""
        signature: bytes = jwt.get_algorithm_by_name(algorithm or self.algorithm).sign(
            text.encode(), self.private
        )
        return signature

    def _written(self, key: Any) -> dict[str, Any]:
        written: dict[str, Any] = jwt.get_algorithm_by_name(self.algorithm).to_jwk(key, as_dict=True)
        written.pop("key_ops", None)
        return written


EC_KEY = Key("ES256", ec.generate_private_key(ec.SECP256R1()))
OTHER_KEY = Key("ES256", ec.generate_private_key(ec.SECP256R1()))
ED_KEY = Key("EdDSA", ed25519.Ed25519PrivateKey.generate())
RSA_KEY = Key("PS256", rsa.generate_private_key(public_exponent=65537, key_size=2048))
SHORT_RSA_KEY = Key("PS256", rsa.generate_private_key(public_exponent=65537, key_size=1024))


@dataclass(frozen=True)
class About:
    """What the proof of a request has to be about, and proofs of it, which all have the same ``jti``."""

    method: str
    uri: str
    #: That which the request presents with the proof, if it presents one.
    access_token: str | None = None
    key: Key = EC_KEY
    jti: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    def header(self, **changed: Any) -> dict[str, Any]:
        return {"typ": "dpop+jwt", "alg": self.key.algorithm, "jwk": self.key.jwk, **changed}

    def claims(self, **changed: Any) -> dict[str, Any]:
        claims = {"jti": self.jti, "htm": self.method, "htu": self.uri, "iat": int(time.time())}
        if self.access_token is not None:
            claims["ath"] = access_token_hash(self.access_token)
        return {**claims, **changed}

    def proof(
        self,
        *,
        header: Mapping[str, Any] | None = None,
        claims: Mapping[str, Any] | None = None,
        drop: Collection[str] = (),
    ) -> str:
        """Return a proof.

        :param header: header parameters that are other than they should be.
        :param claims: claims that are other than they should be.
        :param drop: header parameters and claims that are missing.
        """
        shown, claimed = (
            {name: value for name, value in part.items() if name not in drop}
            for part in (self.header(**(header or {})), self.claims(**(claims or {})))
        )
        return jws(self.key, shown, claimed)


def jws(key: Key, header: Any, payload: Any, algorithm: str | None = None) -> str:
    """Return a JWS with a right signature.

    :param header: an object, or JSON text for what no object can be.
    :param payload: likewise.
    :param algorithm: what signs, where that is not the key's own.
    """
    signed = ".".join(
        base64url((part if isinstance(part, str) else json.dumps(part)).encode())
        for part in (header, payload)
    )
    return f"{signed}.{base64url(key.sign(signed, algorithm))}"


def access_token_hash(token: str) -> str:
    """Return the ``ath`` of an access token (RFC 9449 section 4.2)."""
    return base64url(hashlib.sha256(token.encode("ascii")).digest())


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
