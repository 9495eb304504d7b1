"""Handling of exceptions; apart, because Django REST framework loads authentication classes early."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from oauth_binding.contrib.rest_framework.permissions import IsBound
from oauth_binding.contrib.rest_framework.scopes import combined, missing_scopes, takes_proofs_alone
from oauth_binding.resource_server.bearer import InsufficientScopeError


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Handle exceptions as Django REST framework does, and say what a refused token lacks.

    For ``REST_FRAMEWORK["EXCEPTION_HANDLER"]``. Without it a request whose token lacks a scope, or is not
    bound, is refused just as well, but without the challenge of RFC 6750 section 3.
    """
    response: Response | None = rest_framework_handler(exception, context)
    request: Any = context.get("request")
    if response is None or not isinstance(exception, PermissionDenied):
        return response
    if hasattr(getattr(request, "auth", None), "allow_scopes"):
        error = _what_is_missing(request, context["view"])
        if error is not None:
            error.takes_proofs_alone = takes_proofs_alone(context["view"].get_permissions())
            response["WWW-Authenticate"] = error.challenge(request._request)
    return response


def _what_is_missing(request: Any, view: Any) -> InsufficientScopeError | None:
    scopes = missing_scopes(request, view)
    if scopes:
        return InsufficientScopeError("The access token does not have the scope.", scopes=scopes)
    for permission in view.get_permissions():
        for each in combined(permission):
            if isinstance(each, IsBound) and not each.has_permission(request, view):
                # The only code that RFC 6750 section 3.1 has for a token that is valid but not enough.
                return InsufficientScopeError(each.challenge)
    return None
