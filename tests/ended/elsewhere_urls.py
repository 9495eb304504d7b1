"""The server, with an API in its project that takes its tokens as one elsewhere does."""

from django.urls import include, path

from tests.ended.urls import urlpatterns as server_urlpatterns

urlpatterns = [
    path("elsewhere/", include("tests.resource_server.elsewhere.urls")),
    *server_urlpatterns,
]
