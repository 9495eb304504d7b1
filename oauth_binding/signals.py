"""Signals for a site's own audit log or mail.

oauth_binding/core/signals.py and oauth_binding/core/audit.py say what each is sent with.
"""

from oauth_binding.core.audit import audit_event
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.core.signals import (
    binding_created,
    binding_revoked,
    demand_reported,
    login_session_ended,
    token_exchanged,
    token_reused,
    token_superseded,
    user_signed_out,
)

__all__ = [
    "DeviceFacts",
    "audit_event",
    "binding_created",
    "binding_revoked",
    "demand_reported",
    "login_session_ended",
    "token_exchanged",
    "token_reused",
    "token_superseded",
    "user_signed_out",
]
