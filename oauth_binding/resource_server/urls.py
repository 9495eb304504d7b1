"""The URLs of an API in a project that is not the server."""

from django.urls import path

from oauth_binding.resource_server.metadata import ProtectedResourceMetadataView
from oauth_binding.resource_server.resources import AT_ROOT

#: The metadata of APIs where RFC 9728 section 3 has it, for the URLs of the whole host.
metadata_urlpatterns = [
    path(f".well-known/oauth-protected-resource{end}", ProtectedResourceMetadataView.as_view(), name=AT_ROOT)
    for end in ("", "/<path:resource_path>")
]
