"""Sender-constrained tokens: proving that whoever presents a token is the one it was issued to."""

from oauth_binding.proof.dpop_key import DPoPKeyBinder

__all__ = ["DPoPKeyBinder"]
