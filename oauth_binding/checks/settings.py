"""Checks of the setting OAUTH_BINDING."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register

from oauth_binding.core.settings import SETTINGS, binding_settings

_SETTINGS_HINT = f"The settings are: {', '.join(sorted(SETTINGS))}."


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005, and the ids in the table of settings: ``OAUTH_BINDING`` has known keys with right values."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return [Error("OAUTH_BINDING is not a dict.", hint=_SETTINGS_HINT, id="oauth_binding.E005")]
    messages: list[CheckMessage] = [
        Error(f"OAUTH_BINDING[{key!r}] is not a setting.", hint=_SETTINGS_HINT, id="oauth_binding.E005")
        for key in sorted(user_settings.keys() - SETTINGS.keys(), key=str)
    ]
    return messages + [
        Error(f"OAUTH_BINDING[{key!r}] {problem}.", hint=setting.hint, id=setting.check)
        for key, setting in SETTINGS.items()
        if key in user_settings
        for problem in setting.problems(user_settings[key])
    ]
