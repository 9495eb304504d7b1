"""The metadata of this server (RFC 8414)."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views

from oauth_binding.authorization_server.endpoints.jwks import has_keys
from oauth_binding.authorization_server.endpoints.responses import json_errors, readable_anywhere
from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.toolkit.endpoint_urls import endpoint_url
from oauth_binding.models import TokenExchangeRule


@method_decorator((readable_anywhere, json_errors), name="dispatch")
class OAuthServerMetadataView(views.OAuthServerMetadataView):
    """The authorization server metadata (RFC 8414), with ``jwks_uri`` also where OIDC is off.

    Token exchange is named as soon as there is a rule that allows one.
    """

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        metadata = json.loads(response.content)
        if has_keys():
            metadata.setdefault("jwks_uri", endpoint_url(self, request, "jwks-info"))
        if TokenExchangeRule.objects.exists():
            metadata["grant_types_supported"].append(GRANT_TYPE)
        response.content = json.dumps(metadata)
        return response
