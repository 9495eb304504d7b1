"""The metadata of the APIs in the project of this server (RFC 9728)."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from oauth2_provider import views

from oauth_binding.core.addresses import endpoint_path, get_issuer
from oauth_binding.resource_server.metadata import describe_proofs, find_described, not_found


class OAuthProtectedResourceMetadataView(views.OAuthProtectedResourceMetadataView):
    """The protected resource metadata (RFC 9728 section 3).

    With a path, it is the metadata of the API at that path of the host, wherever these URLs are included, and
    only if that API takes tokens. django-oauth-toolkit's view describes whatever is asked for.
    """

    #: The identifier that the metadata is for; None for django-oauth-toolkit's.
    resource: str | None = None

    def get(self, request: HttpRequest, resource_path: str = "", **kwargs: Any) -> HttpResponse:
        if resource_path:
            self.resource = find_described(request, resource_path)
            if self.resource is None:
                return not_found()
        response: HttpResponse = super().get(request, **kwargs)
        metadata = json.loads(response.content)
        response.content = json.dumps({**metadata, **describe_proofs(request, metadata["resource"])})
        return response

    def get_resource(self, request: HttpRequest) -> str:
        return self.resource or str(super().get_resource(request))

    def get_authorization_servers(self, request: HttpRequest) -> list[str]:
        servers: list[str] = super().get_authorization_servers(request)
        if not servers and endpoint_path("oauth-server-metadata") is not None:
            return [get_issuer(request)]  # in a namespace of the site's own
        return servers
