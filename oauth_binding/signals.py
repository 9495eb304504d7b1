"""Signals for a site's own audit log or mail; oauth_binding/core/signals.py says what each is sent with."""

from oauth_binding.core.signals import (
    binding_created,
    binding_revoked,
    demand_reported,
    token_exchanged,
    token_reused,
    token_superseded,
    user_signed_out,
)

__all__ = [
    "binding_created",
    "binding_revoked",
    "demand_reported",
    "token_exchanged",
    "token_reused",
    "token_superseded",
    "user_signed_out",
]
