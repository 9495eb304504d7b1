"""Why a proof is refused."""

from __future__ import annotations


class ProofError(Exception):
    """A proof that is refused.

    :param description: the ``error_description``, in ASCII; nothing that the client has sent.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class InvalidProofError(ProofError):
    """``invalid_dpop_proof`` (RFC 9449 section 5)."""


class NonceError(ProofError):
    """``use_dpop_nonce``: the proof has no nonce of this server, or an old one (RFC 9449 section 8)."""

    def __init__(self) -> None:
        super().__init__("The DPoP proof needs the nonce in the DPoP-Nonce header.")


class StoreUnavailableError(ProofError):
    """It can't be told whether a proof was used before: what keeps the used ones does not answer."""

    def __init__(self) -> None:
        super().__init__("It can't be told now whether the DPoP proof was used before. Try again.")
