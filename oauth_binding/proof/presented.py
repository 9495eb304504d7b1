"""What a token request presents as a proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.core.errors import InvalidDPoPProofError, ProofStoreError, UseDPoPNonceError
from oauth_binding.proof.constraint import ProofRules, RequestFacts
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.errors import (
    InvalidProofError,
    NonceError,
    ProofError,
    ReplayedProofError,
    StoreUnavailableError,
)

#: Where it is among the headers of oauthlib's request; in WSGI, no HTTP header has a dot.
PRESENTED: Final = "oauth_binding.proof"

#: How the token endpoint refuses a proof.
_REFUSALS: Final[dict[type[ProofError], type[OAuth2Error]]] = {
    InvalidProofError: InvalidDPoPProofError,
    ReplayedProofError: InvalidDPoPProofError,
    NonceError: UseDPoPNonceError,
    StoreUnavailableError: ProofStoreError,
}


@dataclass(slots=True)
class PresentedProof:
    """The proof of a token request, verified when it is first asked for, and only if it is."""

    #: Returns the facts of the request, and what is asked of its proof.
    get_facts: Callable[[], RequestFacts] = field(repr=False)
    get_rules: Callable[[], ProofRules] = field(repr=False)
    #: Whether anybody has asked for it.
    is_asked: bool = False
    _proof: Proof | None = field(default=None, repr=False)
    _error: ProofError | None = field(default=None, repr=False)

    def read(self) -> Proof | None:
        """Return the proof, or None if there is none.

        :raises OAuth2Error: it is not valid here and now.
        """
        if not self.is_asked:
            self.is_asked = True
            try:
                self._proof = DPOP.read(self.get_facts(), self.get_rules())
            except ProofError as error:
                self._error = error
        if self._error is not None:
            # Each time: an invalid proof is not the same as a missing one.
            raise _refusal(self._error) from self._error
        return self._proof

    def record(self) -> None:
        """Note that the proof is used.

        :raises OAuth2Error: it was used before, or that can't be found out.
        """
        if self._proof is None:
            return
        try:
            self.get_rules().store.record(self._proof)
        except ProofError as error:
            raise _refusal(error) from error

    def response_headers(self) -> dict[str, str]:
        """Return the headers for the client's next proof; none if nobody has asked for one."""
        return DPOP.response_headers(self.get_rules()) if self.is_asked else {}


def presented_proof(request: Any) -> PresentedProof | None:
    """Return what one of oauthlib's requests presents, or None: it did not come to the token endpoint."""
    presented: PresentedProof | None = request.headers.get(PRESENTED)
    return presented


def _refusal(error: ProofError) -> OAuth2Error:
    return _REFUSALS[type(error)](error.reason, description=error.description)
