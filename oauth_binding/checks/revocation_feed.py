"""Checks of the revocation feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.settings import binding_settings


@register(Tags.security, deploy=True)
def check_issuer(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W030: there is one revocation feed, and not one for each ``Host`` that somebody sends."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict) or not binding_settings.revocation_feed:
        return []
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        return []
    return [
        Warning(
            "OAUTH_BINDING['REVOCATION_FEED'] is on without an issuer: each host and port that a request "
            "names has a feed of its own, for which the server signs.",
            hint="Set OAUTH2_PROVIDER['OIDC_ISS_ENDPOINT']. If there has to be an issuer for each host, let "
            "the proxy pass on only names of the site, without ports, and silence this warning.",
            id="oauth_binding.W030",
        )
    ]
