"""DPoP proofs: JWTs by which a client proves that it has a key (RFC 9449 section 4)."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from time import time
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from oauth_binding.binding.confirmation import JWK_THUMBPRINT, Confirmation
from oauth_binding.core.jose import jws
from oauth_binding.core.jose.algorithms import ALGORITHMS, MIN_RSA_BITS
from oauth_binding.core.jose.claims import check_types, valid_from
from oauth_binding.proof.errors import InvalidProofError
from oauth_binding.proof.target_uri import normalise

#: How old a proof may be by its ``iat``, and how far ahead of the server's clock, in seconds.
MAX_AGE: Final = 60
MAX_AHEAD: Final = 10

#: How far apart the clocks of servers that remember used proofs together may be, in seconds: one may still
#: accept what another takes for expired.
CLOCKS_APART: Final = 60

#: How long a proof, and its ``jti``, may be, in characters.
MAX_LENGTH: Final = 4096
MAX_JTI_LENGTH: Final = 256

#: The ``typ`` header of a proof (RFC 9449 section 4.2), letter by letter.
TYPE: Final = "dpop+jwt"

#: The members of a key that its thumbprint covers besides ``kty`` (RFC 7638 section 3.2, RFC 8037 section 2).
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "RSA": ("e", "n"),
}

#: What no public key has (RFC 7518 section 6, RFC 8037 section 2).
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

#: What a proof has to have (RFC 9449 section 4.2).
_REQUIRED: Final = ("jti", "htm", "htu", "iat")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof proves, and where and when."""

    #: The key.
    confirmation: Confirmation
    #: The address that it is for, as returned by ``oauth_binding.proof.target_uri.normalise``.
    target: str
    jti: str = field(repr=False)
    #: When it was made, in seconds since the epoch.
    issued_at: float
    nonce: str | None = field(default=None, repr=False)
    #: The digest of the access token that it comes with.
    token_digest: str | None = field(default=None, repr=False)

    @property
    def replay_key(self) -> str:
        """What tells it from all other proofs: 64 lower-case hexadecimal characters."""
        parts = [self.confirmation.thumbprint, self.target, self.jti]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def expires(self) -> float:
        """From then on no server accepts it, by any of their clocks; in seconds since the epoch."""
        return self.issued_at + MAX_AGE + MAX_AHEAD + CLOCKS_APART

    def is_for(self, token: str) -> bool:
        """Return whether it was made for a token: it has that token's ``ath`` (RFC 9449 section 4.2)."""
        return self.token_digest is not None and compare_digest(self.token_digest, token_digest(token))


def verify(
    text: str, *, method: str, uri: str, algorithms: Collection[str], access_token: str | None = None
) -> Proof:
    """Return what a proof proves (RFC 9449 section 4.3); whether it was used before is not checked.

    :param text: the ``DPoP`` header.
    :param method: of the request.
    :param uri: the address that was requested, with or without a query.
    :param algorithms: the ``alg`` values that are accepted.
    :param access_token: that of the request, at an API; its digest has to be in the proof.
    :raises InvalidProofError: it is not a proof, or not for this request, here and now.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidProofError(f"The DPoP proof has more than {MAX_LENGTH} characters.")
    try:
        parts = jws.split(text)
        signer = _read_header(parts[0], tuple(algorithms))
        claims = jws.read_payload(parts, signer.key)
        _check_claims(claims, method)
        target = normalise(uri)
        is_same = claims["htu"] == uri or normalise(claims["htu"]) == target
    except UnicodeError:
        raise InvalidProofError("The DPoP proof is not valid: it is not UTF-8.") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidProofError(f"The DPoP proof is not valid: {_in_ascii(error)}.") from None
    if not is_same:
        raise InvalidProofError("The htu of the DPoP proof is not the address of this request.")
    proof = Proof(
        signer.confirmation,
        target,
        claims["jti"],
        claims["iat"],
        claims.get("nonce"),
        claims.get("ath"),
    )
    if access_token is not None and not proof.is_for(access_token):
        raise InvalidProofError("The ath of the DPoP proof is not that of the access token.")
    return proof


def token_digest(token: str) -> str:
    """Return the ``ath`` of a token: its base64url SHA-256 (RFC 9449 section 4.2)."""
    return _base64url(hashlib.sha256(token.encode()).digest())


@dataclass(frozen=True, slots=True)
class _Signer:
    """The key of a proof."""

    key: jwt.PyJWK = field(repr=False)
    confirmation: Confirmation


@functools.lru_cache(maxsize=1024)
def _read_header(part: str, algorithms: tuple[str, ...]) -> _Signer:
    """Return the key in the header of a proof; a client sends the same header again and again.

    :param part: the header in base64url.
    :raises jwt.PyJWTError, ValueError, RecursionError: it is not the header of a proof.
    """
    header = jws.read_header(part, types=(TYPE,), algorithms=algorithms)
    if header["typ"] != TYPE:
        raise jwt.InvalidTokenError("its typ is not accepted")
    members = _public_members(header.get("jwk"), header["alg"])
    thumbprint = _base64url(hashlib.sha256(members.encode()).digest())
    return _Signer(_load_key(members, header["alg"]), Confirmation(JWK_THUMBPRINT, thumbprint))


def _check_claims(claims: dict[str, Any], method: str) -> None:
    """Check the claims of a proof, except ``htu``.

    :raises ValueError: one is missing, malformed or not for this request; the message has its name.
    """
    for name in _REQUIRED:
        if name not in claims:
            raise ValueError(f"it has no {name}")
    check_types(claims, ("jti", "htm", "htu", "nonce", "ath"))
    if len(claims["jti"]) > MAX_JTI_LENGTH:
        raise ValueError(f"its jti has more than {MAX_JTI_LENGTH} characters")
    if claims["htm"] != method:
        raise ValueError("its htm is not the method of this request")
    if not claims.get("ath", "").isascii():
        raise ValueError("its ath is not base64url")
    now = time()
    if not now - MAX_AGE <= claims["iat"] <= now + MAX_AHEAD:
        raise ValueError("its iat is too long ago or in the future")
    if claims.get("exp", now + 1) <= now:
        raise ValueError("it has expired")
    if valid_from(claims) > now + MAX_AHEAD:
        raise ValueError("it is not valid yet")


def _public_members(jwk: Any, algorithm: str) -> str:
    """Return the members of a public key that its thumbprint covers, as JSON (RFC 7638 section 3).

    :raises ValueError: it is not a public key, or not for this algorithm.
    """
    known = ALGORITHMS[algorithm]
    if not isinstance(jwk, dict) or jwk.get("kty") != known.key_type:
        raise ValueError("its jwk is not a public key for its alg")
    if not _PRIVATE.isdisjoint(jwk):
        raise ValueError("its jwk is a private key")
    if known.curve and jwk.get("crv") != known.curve:
        raise ValueError("its jwk is not a public key for its alg")
    # RFC 8725 section 3.1: a key is for one algorithm, if it says which.
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise ValueError("its jwk is not for its alg")
    members = {name: str(jwk.get(name)) for name in _MEMBERS[known.key_type]}
    # A key has only one thumbprint, so its numbers can be written in only one way (RFC 7518 section 2).
    if any(
        jwk.get(name) != value or not (name == "crv" or jws.is_base64url(value))
        for name, value in members.items()
    ):
        raise ValueError("its jwk is malformed")
    if known.key_type == "RSA" and not all(
        base64.urlsafe_b64decode(value + "==")[0] for value in members.values()
    ):
        raise ValueError("its jwk is malformed")  # with a zero before the number
    return json.dumps({**members, "kty": known.key_type}, sort_keys=True, separators=(",", ":"))


def _load_key(members: str, algorithm: str) -> jwt.PyJWK:
    """Return a key.

    :raises jwt.InvalidKeyError: it can't be used.
    """
    try:
        key = jwt.PyJWK(json.loads(members), algorithm)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError):
        raise jwt.InvalidKeyError("its jwk can't be used") from None
    if ALGORITHMS[algorithm].key_type == "RSA" and key.key.key_size < MIN_RSA_BITS:
        raise jwt.InvalidKeyError("its jwk is too short")
    return key


def _in_ascii(error: Exception) -> str:
    """Return what an error says in the characters of an ``error_description`` (RFC 6749 section 5.2)."""
    return "".join(c for c in str(error) if " " <= c <= "~" and c not in '"\\')


def _base64url(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
