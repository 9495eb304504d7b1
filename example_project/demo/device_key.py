"""The key of a device, and the proofs that it signs (RFC 9449)."""

import base64
import hashlib
import json
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm


class DeviceKey:
    """A key pair whose private part never leaves the device."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        jwk = ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        # What a public key consists of (RFC 7638 section 3.2), without what only describes it.
        self._public = {member: jwk[member] for member in ("crv", "kty", "x", "y")}

    @property
    def thumbprint(self) -> str:
        """The ``jkt`` that the server keeps with tokens (RFC 9449 section 6)."""
        return _digest(json.dumps(self._public, sort_keys=True, separators=(",", ":")))

    def prove(self, method: str, url: str, *, access_token: str = "", nonce: str = "") -> str:
        """Sign a proof for one request (RFC 9449 section 4.2).

        :param method: that of the request.
        :param url: its address, without query and fragment.
        :param access_token: the token that it is sent with, if any.
        :param nonce: what the server has asked for, if it has.
        """
        claims: dict[str, Any] = {
            "jti": str(uuid.uuid4()),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
        }
        if access_token:
            claims["ath"] = _digest(access_token)
        if nonce:
            claims["nonce"] = nonce
        return jwt.encode(claims, self._private, "ES256", headers={"typ": "dpop+jwt", "jwk": self._public})


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
