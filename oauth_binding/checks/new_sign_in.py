"""Checks of the mail about a new sign-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, Warning, register

from oauth_binding.core.settings import binding_settings
from oauth_binding.devices.new_sign_in import address_name


@register(Tags.models)
def check_addresses(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W029: users who are to be mailed have addresses."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict) or not binding_settings.new_sign_in_mail:
        return []
    model = get_user_model()
    if hasattr(model, address_name()):
        return []
    return [
        Warning(
            f"OAUTH_BINDING['NEW_SIGN_IN_MAIL'] is on, and {model._meta.label} has no {address_name()!r}: "
            "nobody gets a mail.",
            hint="Set EMAIL_FIELD of the user model to the name of its email address field.",
            id="oauth_binding.W029",
        )
    ]
