"""Handling of exceptions; apart, because Django REST framework loads authentication classes early."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from oauth_binding.contrib.rest_framework.scopes import required_scopes
from oauth_binding.resource_server.bearer import InsufficientScopeError


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Handle exceptions as Django REST framework does, and say which scopes a token lacks.

    For ``REST_FRAMEWORK["EXCEPTION_HANDLER"]``. Without it a request whose token lacks a scope is refused
    just as well, but without the challenge of RFC 6750 section 3.
    """
    response: Response | None = rest_framework_handler(exception, context)
    request: Any = context.get("request")
    allow_scopes = getattr(getattr(request, "auth", None), "allow_scopes", None)
    if response is not None and isinstance(exception, PermissionDenied) and allow_scopes is not None:
        scopes = required_scopes(request, context["view"])
        if not allow_scopes(scopes):
            error = InsufficientScopeError("The access token does not have the scope.", scopes=scopes)
            response["WWW-Authenticate"] = error.challenge(request._request)
    return response
