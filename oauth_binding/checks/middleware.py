"""Checks of the middlewares that sign in by bearer tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register

from oauth_binding.core.toolkit_paths import OAuth2TokenMiddleware
from oauth_binding.resource_server.checks import check_middleware, classes_in_middleware

register(check_middleware, Tags.security)


@register(Tags.security)
def check_middleware_of_toolkit(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W016: no middleware signs users in with just any token, on every page."""
    return [
        Warning(
            f"MIDDLEWARE has {path}, which signs users in by any access token, whatever its scopes, even "
            "in the admin and on the pages of the server.",
            hint="Put a class in its place that derives from oauth_binding.resource_server."
            "BearerTokenMiddleware and sets required_scopes.",
            id="oauth_binding.W016",
        )
        for path, middleware in classes_in_middleware()
        if issubclass(middleware, OAuth2TokenMiddleware)
    ]
