"""Checks of the URLs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import Resolver404, resolve
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.endpoints.introspection import IntrospectTokenView
from oauth_binding.authorization_server.endpoints.metadata import (
    MetadataAtRootView,
    OAuthServerMetadataView,
)
from oauth_binding.authorization_server.endpoints.token import TokenView
from oauth_binding.core.addresses import endpoint_path, get_issuer_path, served_view, without_script_prefix


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
        if (path := endpoint_path(name)) is not None and not _is_served_by(path, view)
    ]


@register(Tags.urls)
def check_metadata_urls(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W018: the metadata is where RFC 8414 section 3.1 has it, too."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    mounted = endpoint_path("oauth-server-metadata")
    if mounted is None or not _is_served_by(mounted, OAuthServerMetadataView):
        return []
    path = f"/.well-known/oauth-authorization-server{get_issuer_path()}"
    if _is_served_by(path, MetadataAtRootView, OAuthServerMetadataView):
        return []
    return [
        Warning(
            f"The metadata of this server is not at {path}, where strict clients look for it (RFC 8414).",
            hint="Add oauth_binding.urls.metadata_urlpatterns to the root URLconf. If a proxy answers "
            "there, silence this check.",
            id="oauth_binding.W018",
        )
    ]


#: By page: the one that it leads to when the user is done.
_NEXT_PAGES: Final = {
    "device": "device-confirm",
    "device-confirm": "device-grant-status",
    "register": "detail",
    "update": "detail",
    "delete": "list",
    "authorized-token-delete": "authorized-token-list",
    "device-sign-out": "device-list",
    "device-sign-out-others": "device-list",
    "device-rename": "device-list",
    "login-session-sign-out": "device-list",
    "dcr-register": "dcr-register-management",
}


@register(Tags.urls)
def check_next_pages(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E028: if a page is served, so is the one that it leads to."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    off = set() if oauth2_settings.DCR_ENABLED else {"dcr-register"}
    return [
        Error(
            f"{page!r} of oauth_binding.urls is served, but not {following!r}, whose address it needs: it "
            "answers with a server error.",
            hint=f"Serve {following!r}, too, or neither.",
            id="oauth_binding.E028",
        )
        for page, following in _NEXT_PAGES.items()
        if page not in off and _leads_on(page) and served_view(following) is None
    ]


def _leads_on(page: str) -> bool:
    """Return whether a page leads where this app's does; one that a site has derived may lead elsewhere."""
    view = served_view(page)
    return view is not None and view.__module__.startswith(("oauth_binding.", "oauth2_provider."))


def _is_served_by(path: str, *views: type) -> bool:
    try:
        match = resolve(without_script_prefix(path))
    except Resolver404:
        return False
    served_by = getattr(match.func, "view_class", None)
    return inspect.isclass(served_by) and issubclass(served_by, views)


@register(Tags.urls)
def check_page_of_user_codes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W019: if devices can ask for codes, users have a page to enter them (RFC 8628 section 3.3)."""
    page = oauth2_settings.OAUTH_DEVICE_VERIFICATION_URI
    if oauth2_settings.EXTRA_SERVER_KWARGS.get("verification_uri", page):
        return []
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    if endpoint_path("device-authorization") is None or endpoint_path("device") is not None:
        return []
    return [
        Warning(
            "The device authorization endpoint has no page to send users to: it answers 503.",
            hint='Use include("oauth_binding.urls"), or set '
            "OAUTH2_PROVIDER['OAUTH_DEVICE_VERIFICATION_URI'] to the address of a page of the site's own.",
            id="oauth_binding.W019",
        )
    ]
