"""The addresses of endpoints in django-oauth-toolkit's metadata."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from oauth_binding.core.addresses import endpoint_url


class EndpointURLsMixin:
    """Precedes one of django-oauth-toolkit's metadata views: finds endpoints wherever the site has them."""

    def _get_endpoint_url(self, request: HttpRequest, view_name: str, required: bool = False) -> Any:
        return endpoint_url(request, view_name)
