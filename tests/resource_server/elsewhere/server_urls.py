"""The server, with the same API in its own project."""

from django.urls import include, path

from oauth_binding.urls import metadata_urlpatterns

urlpatterns = [
    path("oauth2/", include("oauth_binding.urls")),
    *metadata_urlpatterns,
    path("", include("tests.resource_server.elsewhere.urls")),
]
