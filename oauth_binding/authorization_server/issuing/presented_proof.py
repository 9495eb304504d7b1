"""The proof of a token request: which key its tokens are going to be confirmed by (RFC 9449 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oauth2_provider.models import AbstractApplication

from oauth_binding.authorization_server.issuing.request_state import state_of
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.core.errors import InvalidDPoPProofError, InvalidGrantError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import NO_CONSTRAINT, binding_is_public, policy_of
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.presented import presented_proof

if TYPE_CHECKING:
    from oauthlib.common import Request


def takes_proofs(client: AbstractApplication) -> bool:
    """Return whether a client's proofs count: its tokens are sender-constrained, or bound to its key."""
    is_bound_to_key = binding_is_public(client.token_binding_type)
    return is_bound_to_key or policy_of(client).sender_constraint != NO_CONSTRAINT


def check_proof(request: Request, held: Confirmation | None = None, *, may_change: bool = False) -> None:
    """Check the proof of a token request; its tokens are going to be confirmed by the key that it proves.

    A proof is ignored if neither the client nor what it presents has a use for it.

    :param request: one whose client is known; nothing else need be known yet.
    :param held: the key of what the request presents: a refresh token, or a code with a ``dpop_jkt``.
    :param may_change: whether another key may take its place.
    :raises InvalidDPoPProofError: the proof is not valid, or is missing although it is needed.
    :raises UseDPoPNonceError: it needs a nonce.
    :raises InvalidGrantError: it proves another key.
    """
    state = state_of(request)
    if held is None and not (state.is_token_request and takes_proofs(request.client)):
        return
    presented = presented_proof(request)
    proof = None if presented is None else presented.read()
    if proof is None:
        policy = policy_of(request.client)
        if held is not None or policy.demands_proof:
            raise InvalidDPoPProofError(
                Reason.PROOF_MISSING, description=f"The {DPOP.header} header is required.", request=request
            )
        if policy.reports_proof:
            state.missed_demands.add("require_sender_constraint")
        return
    if held is not None and held != proof.confirmation and not may_change:
        raise InvalidGrantError(
            Reason.KEY_MISMATCH,
            description="The DPoP proof is by a key other than the one that the grant is bound to.",
            request=request,
        )
    if state.is_proof_recorded and state.proof is None:
        # What it presents was given a key since it was looked at.
        raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
    state.proof = proof


def check_refresh_proof(request: Request, held: str | None) -> None:
    """Check the proof of a refresh request (RFC 9449 section 5).

    A public client needs the key of its refresh token; a confidential one, which authenticates itself, may
    bring another. One that has no key yet is given one.

    :param held: the ``binding_confirmation`` of the refresh token, or of what it was refreshed into.
    :raises OAuth2Error: as ``check_proof``.
    """
    is_confidential = request.client.client_type == AbstractApplication.CLIENT_CONFIDENTIAL
    check_proof(request, Confirmation.from_stored(held), may_change=is_confidential)


def check_exchanged_proof(
    request: Request, token: str, held: Confirmation | None, *, accepts_unproven: bool
) -> None:
    """Check the proof of a token exchange whose subject token may be sender-constrained.

    :param token: the subject token, which the proof has to name in its ``ath``.
    :param held: the key of the subject token; None for a bearer token.
    :param accepts_unproven: whether another key, the client's own, will do as well.
    :raises OAuth2Error: as ``check_proof``.
    """
    check_proof(request, held, may_change=accepts_unproven)
    proof = state_of(request).proof
    if held is None or proof is None or accepts_unproven:
        return
    if not proof.is_for(token):
        raise InvalidDPoPProofError(
            Reason.PROOF_FOR_OTHER_TOKEN,
            description="The ath of the DPoP proof is not that of the subject_token.",
            request=request,
        )


def record_proof(request: Request) -> None:
    """Note that the proof of a request is used: once all else is checked, and before anything is saved.

    :raises InvalidDPoPProofError: it was used before.
    :raises ProofStoreError: that can't be told.
    """
    state, presented = state_of(request), presented_proof(request)
    state.is_proof_recorded = True
    if state.proof is not None and presented is not None:
        presented.record()
