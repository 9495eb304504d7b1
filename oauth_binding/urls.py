"""django-oauth-toolkit's URLs with this app's endpoints; include it in place of ``oauth2_provider.urls``."""

from __future__ import annotations

from django.urls import URLPattern, path
from django.views.generic import View
from oauth2_provider import urls as toolkit_urls

from oauth_binding import device_views, registration, revocation_feed, views

app_name = "oauth2_provider"

_VIEWS: dict[str, type[View]] = {
    "token": views.TokenView,
    "device-authorization": views.DeviceAuthorizationView,
    "revoke-token": views.RevokeTokenView,
    "introspect": views.IntrospectTokenView,
    "jwks-info": views.JwksInfoView,
    "oauth-server-metadata": views.OAuthServerMetadataView,
    "oauth-server-metadata-issuer": views.OAuthServerMetadataView,
    "dcr-register": registration.DynamicClientRegistrationView,
    "dcr-register-management": registration.DynamicClientRegistrationManagementView,
}


def _with_our_view(pattern: URLPattern) -> URLPattern:
    view = _VIEWS.get(pattern.name or "")
    if view is None:
        return pattern
    return URLPattern(pattern.pattern, view.as_view(), pattern.default_args, pattern.name)


#: Guides of other servers write these addresses without the trailing slash.
slashless_urlpatterns = [
    path("token", views.TokenView.as_view()),
    path("introspect", views.IntrospectTokenView.as_view()),
    path("revoke", views.RevokeTokenView.as_view()),
    path("revoke/", views.RevokeTokenView.as_view()),
    path("revoke_token", views.RevokeTokenView.as_view()),
]

#: The page "Your devices".
device_urlpatterns = [
    path("devices/", device_views.DeviceListView.as_view(), name="device-list"),
    path(
        "devices/<slug:device>/sign-out/",
        device_views.DeviceSignOutView.as_view(),
        name="device-sign-out",
    ),
    path(
        "devices/<slug:device>/sign-out-others/",
        device_views.DeviceSignOutOthersView.as_view(),
        name="device-sign-out-others",
    ),
    path("devices/<slug:device>/rename/", device_views.DeviceRenameView.as_view(), name="device-rename"),
]

#: For APIs that validate JWTs on their own.
feed_urlpatterns = [
    path("revoked-tokens/", revocation_feed.RevokedTokensView.as_view(), name="revoked-tokens"),
]

urlpatterns = [
    *map(_with_our_view, toolkit_urls.urlpatterns),
    *slashless_urlpatterns,
    *device_urlpatterns,
    *feed_urlpatterns,
]
