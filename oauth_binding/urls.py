"""django-oauth-toolkit's URLs with this app's endpoints; include it in place of ``oauth2_provider.urls``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.urls import URLPattern, path
from django.utils.decorators import decorator_from_middleware
from django.views.generic import View
from oauth2_provider import urls as toolkit_urls

from oauth_binding.authorization_server.endpoints.authorization import AuthorizationView
from oauth_binding.authorization_server.endpoints.authorized_tokens import (
    AuthorizedTokenDeleteView,
    AuthorizedTokensListView,
)
from oauth_binding.authorization_server.endpoints.device_authorization import (
    DeviceAuthorizationView,
    DeviceConfirmView,
)
from oauth_binding.authorization_server.endpoints.introspection import IntrospectTokenView
from oauth_binding.authorization_server.endpoints.jwks import JwksInfoView
from oauth_binding.authorization_server.endpoints.logout import RPInitiatedLogoutView
from oauth_binding.authorization_server.endpoints.metadata import (
    ConnectDiscoveryInfoView,
    MetadataAtRootView,
    OAuthServerMetadataView,
    OpenIDConfigurationAtRootView,
)
from oauth_binding.authorization_server.endpoints.registration import (
    DynamicClientRegistrationManagementView,
    DynamicClientRegistrationView,
)
from oauth_binding.authorization_server.endpoints.resource_metadata import OAuthProtectedResourceMetadataView
from oauth_binding.authorization_server.endpoints.responses import json_errors, readable_anywhere
from oauth_binding.authorization_server.endpoints.revocation import RevokeTokenView
from oauth_binding.authorization_server.endpoints.revocation_feed import RevokedTokensView
from oauth_binding.authorization_server.endpoints.token import TokenView
from oauth_binding.core.addresses import with_names_of_toolkit
from oauth_binding.core.databases import deciding
from oauth_binding.core.error_reports import without_secrets
from oauth_binding.devices.views import (
    DeviceListView,
    DeviceRenameView,
    DeviceSignOutOthersView,
    DeviceSignOutView,
    LoginSessionSignOutView,
)
from oauth_binding.resource_server.resources import AT_ROOT
from oauth_binding.sessions.browser import follow
from oauth_binding.sessions.given_up import page_if_given_up

app_name = "oauth2_provider"

# Even if a site does without the middleware, no page on which users decide is shown in a frame of another
# site (RFC 9700 section 4.16).
_unframed = decorator_from_middleware(XFrameOptionsMiddleware)

_OUR_VIEWS: dict[str, type[View]] = {
    "authorize": AuthorizationView,
    "token": TokenView,
    "device-authorization": DeviceAuthorizationView,
    "device-confirm": DeviceConfirmView,
    "revoke-token": RevokeTokenView,
    "introspect": IntrospectTokenView,
    "jwks-info": JwksInfoView,
    "oauth-server-metadata": OAuthServerMetadataView,
    "oauth-server-metadata-issuer": OAuthServerMetadataView,
    "oidc-connect-discovery-info": ConnectDiscoveryInfoView,
    "oauth-resource-metadata": OAuthProtectedResourceMetadataView,
    "oauth-resource-metadata-path": OAuthProtectedResourceMetadataView,
    "authorized-token-list": AuthorizedTokensListView,
    "authorized-token-delete": AuthorizedTokenDeleteView,
    "rp-initiated-logout": RPInitiatedLogoutView,
    "dcr-register": DynamicClientRegistrationView,
    "dcr-register-management": DynamicClientRegistrationManagementView,
}


#: django-oauth-toolkit's views for clients, not users.
_FOR_CLIENTS: Final = frozenset(
    {"oauth-resource-metadata", "oauth-resource-metadata-path", "oidc-connect-discovery-info", "user-info"}
)

#: Those of them that scripts of every site may read.
_PUBLIC: Final = _FOR_CLIENTS - {"user-info"}


#: Its pages, which users open in a browser.
_FOR_USERS: Final = frozenset(
    {
        *("authorize", "device", "device-confirm", "device-grant-status", "rp-initiated-logout"),
        *("list", "register", "detail", "delete", "update"),
        *("authorized-token-list", "authorized-token-delete"),
    }
)


def _followed(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Have a page log out browsers whose login session was ended from elsewhere."""

    @functools.wraps(view)
    def following(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        follow(request)
        return view(request, *args, **kwargs)

    return following


def _with_our_view(pattern: URLPattern) -> URLPattern:
    ours = _OUR_VIEWS.get(pattern.name or "")
    view = pattern.callback if ours is None else ours.as_view()
    if pattern.name in _FOR_USERS:
        view = page_if_given_up(_followed(view))
    if pattern.name in _FOR_CLIENTS:
        view = json_errors(view)
    if pattern.name in _PUBLIC:
        view = readable_anywhere(view)
    return URLPattern(pattern.pattern, _unframed(deciding()(view)), pattern.default_args, pattern.name)


def _with_names(pattern: URLPattern) -> URLPattern:
    view = with_names_of_toolkit(pattern.callback)
    return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)


#: Guides of other servers write these addresses without the trailing slash.
slashless_urlpatterns = [
    path("token", TokenView.as_view()),
    path("introspect", IntrospectTokenView.as_view()),
    path("revoke", RevokeTokenView.as_view()),
    path("revoke/", RevokeTokenView.as_view()),
    path("revoke_token", RevokeTokenView.as_view()),
]


def _of_users(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    return _unframed(deciding()(page_if_given_up(_followed(view))))


#: The page "Your devices".
device_urlpatterns = [
    path("devices/", _of_users(DeviceListView.as_view()), name="device-list"),
    path(
        "devices/<slug:device>/sign-out/",
        _of_users(DeviceSignOutView.as_view()),
        name="device-sign-out",
    ),
    path(
        "devices/sign-out-others/",
        _of_users(DeviceSignOutOthersView.as_view()),
        name="device-sign-out-others",
    ),
    path(
        "devices/<slug:device>/rename/",
        _of_users(DeviceRenameView.as_view()),
        name="device-rename",
    ),
    path(
        "devices/browsers/<int:session>/sign-out/",
        _of_users(LoginSessionSignOutView.as_view()),
        name="login-session-sign-out",
    ),
]

#: For APIs that validate JWTs on their own.
feed_urlpatterns = [
    path("revoked-tokens/", RevokedTokensView.as_view(), name="revoked-tokens"),
]

#: The metadata where RFC 8414 section 3.1 and RFC 9728 section 3 have it, for the URLs of the whole host: for
#: a site that includes ``oauth_binding.urls`` under a path. That of the server is also there without its
#: path, because some clients look there for that of an API.
metadata_urlpatterns = [
    *(
        path(f".well-known/{document}{end}", view.as_view())
        for document, view in (
            ("oauth-authorization-server", MetadataAtRootView),
            ("openid-configuration", OpenIDConfigurationAtRootView),
        )
        for end in ("", "/<path:issuer_path>")
    ),
    *(
        path(
            f".well-known/oauth-protected-resource{end}",
            OAuthProtectedResourceMetadataView.as_view(),
            name=AT_ROOT,
        )
        for end in ("", "/<path:resource_path>")
    ),
]

urlpatterns = [
    _with_names(without_secrets(pattern))
    for pattern in (
        *map(_with_our_view, toolkit_urls.urlpatterns),
        *slashless_urlpatterns,
        *device_urlpatterns,
        *feed_urlpatterns,
    )
]
