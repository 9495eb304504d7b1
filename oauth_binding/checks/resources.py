"""Checks of what this site's APIs are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.setting_rules import is_secure_url


@register(Tags.security)
def check_resource_identifier(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W022: the identifier of the protected resource is one that clients accept."""
    identifier = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER
    if not identifier or (is_secure_url(identifier) and not set("?#") & set(identifier)):
        return []
    return [
        Warning(
            f"OAUTH2_PROVIDER['OAUTH2_PROTECTED_RESOURCE_IDENTIFIER'] is {identifier!r}, which is not an "
            "https address without a query or a fragment: clients refuse it (RFC 9728 section 1.2).",
            hint="Give the address under which all the APIs are, such as https://example.com/api/.",
            id="oauth_binding.W022",
        )
    ]
