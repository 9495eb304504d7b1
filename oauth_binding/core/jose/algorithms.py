"""The signature algorithms of JWTs: one list for what is accepted and for what signs here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from oauth_binding.core.setting_rules import Rule, is_list


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A value of ``alg`` (RFC 7518 section 3.1, RFC 8037 section 3.1)."""

    #: The ``kty`` of its keys.
    key_type: str
    #: The ``crv`` of its keys (RFC 7518 section 3.4); empty if any will do, or they have none.
    curve: str = ""
    #: How a new key is made; None if others may sign with it, but this server does not.
    generate: Mapping[str, Any] | None = None


#: No algorithm is symmetric: a published key must never be a secret (RFC 8725 section 2.1).
ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "RS256": Algorithm("RSA", generate={"kty": "RSA", "size": 2048}),
    **dict.fromkeys(["RS384", "RS512", "PS256", "PS384", "PS512"], Algorithm("RSA")),
    "ES256": Algorithm("EC", "P-256", generate={"kty": "EC", "crv": "P-256"}),
    "ES384": Algorithm("EC", "P-384"),
    "ES512": Algorithm("EC", "P-521"),
    "EdDSA": Algorithm("OKP", generate={"kty": "OKP", "crv": "Ed25519"}),
}

#: Those that sign here.
SIGNING_ALGORITHMS: Final = [name for name, algorithm in ALGORITHMS.items() if algorithm.generate]

#: Those that sign proofs of possession, unless a site says otherwise (RFC 9449 section 4.2).
PROOF_ALGORITHMS: Final = ("ES256", "EdDSA", "PS256")

#: The rule of a setting that lists algorithms of proofs.
PROOF_ALGORITHM_LIST: Final[Rule] = (
    lambda value: bool(value) and is_list(value, lambda item: item in [*PROOF_ALGORITHMS, "RS256"]),
    f"a list of these: {', '.join(PROOF_ALGORITHMS)}, RS256",
)

#: The shortest RSA key, in bits (RFC 7518 section 3.3).
MIN_RSA_BITS: Final = 2048

#: The rule of a setting that lists algorithms to accept.
ALGORITHM_LIST: Final[Rule] = (
    lambda value: bool(value) and is_list(value, lambda item: item in list(ALGORITHMS)),
    f"a list of these: {', '.join(ALGORITHMS)}",
)
