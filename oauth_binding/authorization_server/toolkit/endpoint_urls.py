"""The addresses of endpoints, as django-oauth-toolkit's metadata has them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def endpoint_url(view: Any, request: HttpRequest, name: str) -> str:
    """Return the address of an endpoint, at the issuer's host where ``OIDC_ISS_ENDPOINT`` is set.

    :param view: django-oauth-toolkit's metadata view.
    :param name: of the URL, without the namespace.
    :raises NoReverseMatch: the site does not serve the endpoint.
    """
    url: str = view._get_endpoint_url(request, name, required=True)
    return url
