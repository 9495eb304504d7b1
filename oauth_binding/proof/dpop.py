"""DPoP: the client proves a key with each request (RFC 9449)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from oauth_binding.binding.confirmation import JWK_THUMBPRINT
from oauth_binding.proof.constraint import ProofRules, RequestFacts, SenderConstraint
from oauth_binding.proof.dpop_proof import Proof, verify
from oauth_binding.proof.errors import NonceError
from oauth_binding.proof.nonces import is_fresh, new_nonce


class DPoP(SenderConstraint):
    """Demonstrating proof of possession (RFC 9449)."""

    name = "dpop"
    member = JWK_THUMBPRINT
    scheme = "DPoP"
    header = "DPoP"

    def read(self, facts: RequestFacts, rules: ProofRules, access_token: str | None = None) -> Proof | None:
        text = facts.headers.get(self.header)
        if text is None:
            return None
        # Two headers become one with a comma in it (RFC 9110 section 5.3), which no JWT contains.
        proof = verify(
            text.strip(" \t"),
            method=facts.method,
            uri=facts.uri,
            algorithms=rules.algorithms,
            access_token=access_token,
        )
        if rules.nonces and not (proof.nonce and is_fresh(proof.nonce)):
            raise NonceError
        return proof

    def metadata(self, rules: ProofRules) -> dict[str, Any]:
        return {"dpop_signing_alg_values_supported": list(rules.algorithms)}

    def challenge(self, rules: ProofRules, attributes: Mapping[str, str]) -> str:
        present = {**attributes, "algs": " ".join(rules.algorithms)}
        return f"{self.scheme} " + ", ".join(f'{name}="{value}"' for name, value in present.items())

    def response_headers(self, rules: ProofRules) -> dict[str, str]:
        # Not from a cache, which would have an old one (RFC 9449 section 8.2).
        return {"DPoP-Nonce": new_nonce(), "Cache-Control": "no-store"} if rules.nonces else {}


#: It keeps no state of requests.
DPOP: Final = DPoP()
