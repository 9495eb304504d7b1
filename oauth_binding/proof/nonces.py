"""Nonces for proofs (RFC 9449 sections 8 and 9): signed moments, which need not be kept."""

from __future__ import annotations

from time import time
from typing import Final

from django.core.signing import BadSignature, TimestampSigner, b62_decode

from oauth_binding.proof.dpop_proof import MAX_AHEAD

#: How long a nonce is accepted, in seconds.
LIFETIME: Final = 300

_SALT: Final = "oauth_binding.proof.nonces"

#: The longest text that is looked at, in characters.
_MAX_LENGTH: Final = 128


def new_nonce() -> str:
    """Return a nonce for the ``DPoP-Nonce`` header, signed with ``SECRET_KEY``."""
    return TimestampSigner(salt=_SALT).sign("").removeprefix(":")


def is_fresh(nonce: str) -> bool:
    """Return whether a nonce is from ``new_nonce``, in any process, and no older than ``LIFETIME``.

    One that was signed with one of ``SECRET_KEY_FALLBACKS`` is accepted, too.
    """
    if len(nonce) > _MAX_LENGTH:
        return False
    try:
        TimestampSigner(salt=_SALT).unsign(f":{nonce}", max_age=LIFETIME)
    except BadSignature:
        return False
    # A clock that was ahead, and is right again, leaves no nonces that live longer.
    return b62_decode(nonce.partition(":")[0]) <= time() + MAX_AHEAD
