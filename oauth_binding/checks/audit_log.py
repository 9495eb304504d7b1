"""A check of where the audit log goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register

from oauth_binding.core.audit import LOGGER, is_kept
from oauth_binding.core.settings import binding_settings


@register(Tags.security)
def check_audit_log(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W033: where the audit log is on, its lines are kept."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict) or user_settings.get("AUDIT_LOG") is not True:
        return []  # E005 and E017 say what is wrong with them
    if is_kept():
        return []
    return [
        Warning(
            f"AUDIT_LOG is on, and the logger {LOGGER!r} drops its lines: they are of the level INFO.",
            hint=f"Give LOGGING['loggers'][{LOGGER!r}] a handler, and the level 'INFO'.",
            id="oauth_binding.W033",
        )
    ]
