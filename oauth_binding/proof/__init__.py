"""Sender-constrained tokens: what proves that whoever presents a token is whom it was issued to."""

from oauth_binding.proof.dpop_key import DPoPKeyBinder

__all__ = ["DPoPKeyBinder"]
