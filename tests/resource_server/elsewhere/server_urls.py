"""The server, with the same API in its own project."""

from django.urls import include, path

urlpatterns = [
    path("oauth2/", include("oauth_binding.urls")),
    path("", include("tests.resource_server.elsewhere.urls")),
]
