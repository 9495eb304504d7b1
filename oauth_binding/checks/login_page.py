"""Checks of the page to which users are sent who are not signed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.checks import CheckMessage, Tags, Warning, register
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, resolve

from oauth_binding.core.addresses import endpoint_path, without_script_prefix


@register(Tags.urls)
def check_login_page(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W011: pages for signed-in users (authorization, the devices) can send others to a login page."""
    root = getattr(settings, "ROOT_URLCONF", None)
    if not root or not (endpoint_path("authorize") or endpoint_path("device-list")):
        return []
    if is_language_prefix_patterns_used(root)[0] or _exists(settings.LOGIN_URL):
        return []  # with language prefixes, LocaleMiddleware finds the page
    return [
        Warning(
            f"LOGIN_URL is {str(settings.LOGIN_URL)!r}, where the project has no page: users who are not "
            "signed in can't authorize clients, nor see their devices.",
            hint="Set LOGIN_URL to the name or the path of the login page, or add one, such as that of "
            "django.contrib.auth.urls. If another server has it there, silence this check.",
            id="oauth_binding.W011",
        )
    ]


def _exists(login_url: Any) -> bool:
    try:
        url = urlsplit(resolve_url(login_url))
        if url.scheme or url.netloc:
            return True  # of another site
        resolve(without_script_prefix(url.path))
    except (NoReverseMatch, Resolver404):
        return False
    return True
