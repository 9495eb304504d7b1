"""Checks of the URLs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.urls import NoReverseMatch, Resolver404, resolve, reverse

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
