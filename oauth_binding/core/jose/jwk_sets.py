"""JWK sets (RFC 7517): the public keys of those who sign JWTs."""

from __future__ import annotations

from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from oauth_binding.core.jose.algorithms import ALGORITHMS, MIN_RSA_BITS
from oauth_binding.core.jose.remote_document import RemoteDocument, download
from oauth_binding.core.jose.strict_json import read_object

#: How long a JWK set is used before it is fetched again, in seconds.
SET_LIFETIME: Final = 300


class UnknownKeyError(jwt.InvalidKeyError):
    """There is no key that could have signed a JWT."""


class KeysUnavailableError(UnknownKeyError):
    """The set could not be fetched yet."""


class JWKSet:
    """The public keys for signatures in a JWK set."""

    def __init__(self, document: Any) -> None:
        """
        :param document: the set as a JSON value (RFC 7517 section 5).
        :raises ValueError: it is not a JWK set, or has no public keys for signatures.
        """
        # Not PyJWT's PyJWKSet, which does not tell whether a key names its algorithm.
        keys = document.get("keys") if isinstance(document, dict) else None
        self._keys = [key for key in keys if _is_usable(key)] if isinstance(keys, list | tuple) else []
        if not self._keys:
            raise ValueError("there is no JWK set with public keys")
        self._parsed: dict[tuple[str | None, str], jwt.PyJWK] = {}

    def find_key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key that must have signed a JWT.

        :param kid: the ``kid`` of its header; without one, None, the only key of its kind is taken.
        :param algorithm: the ``alg`` of its header, one of ``ALGORITHMS``.
        :raises UnknownKeyError: there is no such key.
        :raises InvalidKeyError: there is more than one, or it can't be used.
        """
        parsed = self._parsed.get((kid, algorithm))
        if parsed is not None:
            return parsed
        found = [key for key in self._keys if _is_suited(key, kid, algorithm)]
        if len(found) != 1:
            error = jwt.InvalidKeyError if found else UnknownKeyError
            raise error(f"{len(found)} keys of its issuer could have signed it")
        try:
            key = jwt.PyJWK(found[0], algorithm)
        except (UnsupportedAlgorithm, TypeError):  # a member that is not a text
            raise jwt.InvalidKeyError("the key of its issuer is of a kind that can't be used here") from None
        if ALGORITHMS[algorithm].key_type == "RSA" and key.key.key_size < MIN_RSA_BITS:
            raise jwt.InvalidKeyError("the key of its issuer is too short")
        return self._parsed.setdefault((kid, algorithm), key)


def _is_usable(key: Any) -> bool:
    # A private key ("d") that is published can be used by anybody.
    return (
        isinstance(key, dict)
        and key.get("kty") in ("RSA", "EC", "OKP")
        and key.get("use") in (None, "sig")
        and "d" not in key
    )


def _is_suited(key: dict[str, Any], kid: str | None, algorithm: str) -> bool:
    # RFC 8725 section 3.1: a key is for one algorithm, if it says which.
    known = ALGORITHMS.get(algorithm)
    return (
        known is not None
        and key["kty"] == known.key_type
        and (not known.curve or key.get("crv") == known.curve)
        and key.get("alg") in (None, algorithm)
        and (kid is None or key.get("kid") == kid)
    )


class RemoteJWKSet(RemoteDocument):
    """The JWK set at an address. A set that was fetched is used through an outage."""

    name = "JWK set"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        #: The set that was fetched last, or None before the first.
        self.keys: JWKSet | None = None

    def load(self) -> None:
        answer = download(self.url, {"Accept": "application/jwk-set+json, application/json"})
        self.keys = JWKSet(read_object(answer.body))

    def find_key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key that must have signed a JWT; if there is none, the set may have new ones by now.

        :raises UnknownKeyError: there is no such key.
        :raises KeysUnavailableError: there is no set.
        :raises InvalidKeyError: there is more than one, or it can't be used.
        """
        # The others use the present set while one thread fetches it.
        self.refresh(SET_LIFETIME, wait=self.keys is None)
        try:
            return self._find_key(kid, algorithm)
        except UnknownKeyError:
            self.refresh(self.pause, wait=True)
            return self._find_key(kid, algorithm)

    def _find_key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        if self.keys is None:
            raise KeysUnavailableError("the keys of its issuer can't be fetched")
        return self.keys.find_key(kid, algorithm)


#: By address, for the life of the process.
_remote: dict[str, RemoteJWKSet] = {}


def remote_jwk_set(url: str) -> RemoteJWKSet:
    """Return the JWK set at an address, which the whole process shares."""
    return _remote.setdefault(url, RemoteJWKSet(url))
