"""django-oauth-toolkit's URLs with this app's endpoints; include it in place of ``oauth2_provider.urls``."""

from __future__ import annotations

from django.urls import URLPattern, path
from django.views.generic import View
from oauth2_provider import urls as toolkit_urls

from oauth_binding import views

app_name = "oauth2_provider"

_VIEWS: dict[str, type[View]] = {
    "token": views.TokenView,
    "device-authorization": views.DeviceAuthorizationView,
    "revoke-token": views.RevokeTokenView,
    "introspect": views.IntrospectTokenView,
    "jwks-info": views.JwksInfoView,
    "oauth-server-metadata": views.OAuthServerMetadataView,
    "oauth-server-metadata-issuer": views.OAuthServerMetadataView,
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

urlpatterns = [*map(_with_our_view, toolkit_urls.urlpatterns), *slashless_urlpatterns]
