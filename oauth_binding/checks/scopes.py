"""Checks of the scopes that tokens get without being asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from oauth2_provider.settings import oauth2_settings


@register(Tags.security)
def check_default_scopes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W017: clients that ask for no scope do not get those that open an API for managing something."""
    if "__all__" not in oauth2_settings.DEFAULT_SCOPES:
        return []  # the site has chosen
    managing = [
        f"devices:{oauth2_settings.WRITE_SCOPE}",
        "introspection",
        oauth2_settings.DCR_REGISTRATION_SCOPE,
    ]
    offered = [scope for scope in managing if scope in oauth2_settings.SCOPES]
    if not offered:
        return []
    return [
        Warning(
            f"Clients that ask for no scope get all of them, including {' and '.join(offered)}: "
            "OAUTH2_PROVIDER['DEFAULT_SCOPES'] is '__all__', the default.",
            hint="Set OAUTH2_PROVIDER['DEFAULT_SCOPES'] to a list of what every client may have.",
            id="oauth_binding.W017",
        )
    ]
