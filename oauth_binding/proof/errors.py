"""Why a proof is refused."""

from __future__ import annotations

from typing import ClassVar

from oauth_binding.core.reasons import Reason


class ProofError(Exception):
    """A proof that is refused.

    :param description: the ``error_description``, in ASCII; nothing that the client has sent.
    """

    #: Why, for the audit log.
    reason: ClassVar[Reason]

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class InvalidProofError(ProofError):
    """``invalid_dpop_proof`` (RFC 9449 section 5)."""

    reason = Reason.PROOF_INVALID


class ReplayedProofError(InvalidProofError):
    """``invalid_dpop_proof``: it was used before (RFC 9449 section 11.1)."""

    reason = Reason.PROOF_REPLAYED

    def __init__(self) -> None:
        super().__init__("The DPoP proof was used before.")


class NonceError(ProofError):
    """``use_dpop_nonce``: the proof has no nonce from this server, or an old one (RFC 9449 section 8)."""

    reason = Reason.PROOF_NONCE_REQUIRED

    def __init__(self) -> None:
        super().__init__("The DPoP proof needs the nonce in the DPoP-Nonce header.")


class StoreUnavailableError(ProofError):
    """It is unknown whether a proof was used before: the store of used proofs does not answer."""

    reason = Reason.PROOF_STORE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("It can't be checked now whether the DPoP proof was used before. Try again.")
