"""The API, with its metadata."""

from oauth_binding.resource_server.urls import metadata_urlpatterns
from tests.resource_server.elsewhere.urls import urlpatterns as api_urlpatterns

urlpatterns = [*api_urlpatterns, *metadata_urlpatterns]
