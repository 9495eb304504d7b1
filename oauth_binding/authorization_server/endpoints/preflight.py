"""The preflight request of a browser: may a script of that origin send this? (Fetch standard, CORS)"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from oauth2_provider.models import get_application_model
from oauthlib.oauth2.rfc6749.utils import is_secure_transport

from oauth_binding.authorization_server.issuing.presented_name import NAME_HEADER
from oauth_binding.proof.dpop import DPOP

#: What scripts may send in addition to what any page may.
_ALLOWED_HEADERS: Final = f"{DPOP.header}, {NAME_HEADER}"

#: How long a browser may rely on the answer, in seconds.
_MAX_AGE: Final = 600

#: The longest origin that is looked up, in characters: a scheme, a host and a port.
_MAX_LENGTH: Final = 300


def allow_origin(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return the answer to an OPTIONS request: which scripts may post, with a proof and a name.

    A preflight request does not say which application is going to ask. So all origins are allowed that any
    application has among its ``allowed_origins``; the answer to the token request itself can be read only by
    those of its own application.

    :param response: the answer for everybody else.
    """
    origin = request.headers.get("Origin", "")
    if "Access-Control-Request-Method" in request.headers and _is_allowed(origin):
        response = HttpResponse(
            status=204,
            headers={
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Max-Age": str(_MAX_AGE),
            },
        )
    patch_vary_headers(response, ["Origin"])
    return response


def _is_allowed(origin: str) -> bool:
    """Return whether an origin is among those of any application."""
    is_text = origin.isascii() and origin.isprintable() and len(origin) <= _MAX_LENGTH
    if not is_text or not is_secure_transport(origin):
        return False
    having = get_application_model().objects.filter(allowed_origins__contains=origin)
    return any(application.origin_allowed(origin) for application in having.only("allowed_origins"))
