"""Checks of the URLs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.endpoints.introspection import IntrospectTokenView
from oauth_binding.authorization_server.endpoints.token import TokenView


@register(Tags.urls)
def check_urls(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W001: the token and introspection endpoints are this app's."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    return [
        Warning(
            f"The {name} endpoint is not that of oauth_binding.",
            hint='Use include("oauth_binding.urls") in place of include("oauth2_provider.urls").',
            id="oauth_binding.W001",
        )
        for name, view in (("token", TokenView), ("introspect", IntrospectTokenView))
        if not _is_served_by(name, view)
    ]


def _is_served_by(name: str, view: type) -> bool:
    try:
        match = resolve(reverse(f"oauth2_provider:{name}"))
    except (NoReverseMatch, Resolver404):
        return True  # the site does not serve the endpoint at all
    served_by = getattr(match.func, "view_class", None)
    return inspect.isclass(served_by) and issubclass(served_by, view)


@register(Tags.urls)
def check_page_of_user_codes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W019: where devices ask for codes, there is a page on which users enter them (RFC 8628 section 3.3)."""
    page = oauth2_settings.OAUTH_DEVICE_VERIFICATION_URI
    if oauth2_settings.EXTRA_SERVER_KWARGS.get("verification_uri", page):
        return []
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    if not is_served("device-authorization") or is_served("device"):
        return []
    return [
        Warning(
            "The device authorization endpoint has no page to send users to: it answers 503.",
            hint='Use include("oauth_binding.urls"), or set '
            "OAUTH2_PROVIDER['OAUTH_DEVICE_VERIFICATION_URI'] to the address of a page of the site's own.",
            id="oauth_binding.W019",
        )
    ]


def is_served(name: str) -> bool:
    """Return whether the site serves the endpoint or page of a name."""
    try:
        reverse(f"oauth2_provider:{name}")
    except NoReverseMatch:
        return False
    return True
