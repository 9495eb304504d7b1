"""Dynamic client registration (RFC 7591, RFC 7592) of applications with several grant types.

django-oauth-toolkit registers one grant type. It is given the primary one here; what it answers and stores is
completed with the others, and its answer with what RFC 7591 requires.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider import views
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.endpoints.responses import json_errors, tried_scheme
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.toolkit_paths import (
    GRANT_TYPE_MAP,
    IGNORED_GRANT_TYPES,
    REDIRECT_REQUIRED_GRANT_TYPES,
)

_RFC_NAMES = {constant: name for name, constant in GRANT_TYPE_MAP.items()}


def _rank(name: str) -> int:
    """Put first what the toolkit refuses, then what needs redirect_uris: it sees just the primary type."""
    constant = GRANT_TYPE_MAP.get(name)
    if constant is None:
        return 0
    return 1 if constant in REDIRECT_REQUIRED_GRANT_TYPES else 2


def _take_additional_grant_types(request: HttpRequest) -> str:
    """Leave just the primary grant type in the request, and return the others as the model keeps them.

    A request that has not several, or is malformed, is left for the toolkit to answer as it is.
    """
    try:
        metadata = json.loads(request.body)
    except (ValueError, RecursionError):
        return ""
    names = metadata.get("grant_types") if isinstance(metadata, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ""
    distinct = dict.fromkeys(name for name in names if name not in IGNORED_GRANT_TYPES)
    primary, *additional = sorted(distinct, key=_rank) or [""]
    if additional:
        # What request.body answers from now on.
        request._body = json.dumps({**metadata, "grant_types": [primary]}).encode()
    return " ".join(GRANT_TYPE_MAP.get(name, name) for name in additional)


def _application(client_id: str) -> Any:
    return written(get_application_model()).get(client_id=client_id)


def _completed(response: HttpResponse, application: Any) -> HttpResponse:
    """Complete a client information response (RFC 7591 section 3.2.1)."""
    client = json.loads(response.content)
    if application.additional_grant_types:
        names = [_RFC_NAMES.get(constant, constant) for constant in application.allowed_grant_types]
        if "authorization_code" in names:
            names.append("refresh_token")  # as the toolkit says it for this one
        client["grant_types"] = names
    if "client_secret" in client:
        client["client_secret_expires_at"] = 0  # never; required where there is a secret
    response.content = json.dumps(client)
    return response


def _register(request: HttpRequest, toolkit_method: Callable[[], HttpResponse]) -> HttpResponse:
    """Let the toolkit register the primary grant type, and store the others; nothing if one is refused."""
    additional = _take_additional_grant_types(request)
    try:
        with transaction.atomic(using=write_alias(get_application_model())):
            response = toolkit_method()
            if response.status_code not in {200, 201}:
                return response
            application = _application(json.loads(response.content)["client_id"])
            if application.additional_grant_types != additional:
                application.additional_grant_types = additional
                application.clean_allowed_grant_types()
                application.save(update_fields=["additional_grant_types"])
            return _completed(response, application)
    except ValidationError as error:
        description = " ".join(error.messages)
        return JsonResponse(
            {"error": "invalid_client_metadata", "error_description": description}, status=400
        )


@method_decorator(json_errors, name="dispatch")
class DynamicClientRegistrationView(views.DynamicClientRegistrationView):
    """The client registration endpoint (RFC 7591 section 3)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _register(request, partial(super().post, request, *args, **kwargs))


# Overriding dispatch() drops what the overridden class was decorated with, so it stands here again.
@method_decorator((csrf_exempt, login_not_required, json_errors), name="dispatch")
class DynamicClientRegistrationManagementView(views.DynamicClientRegistrationManagementView):
    """The client configuration endpoint (RFC 7592 section 2)."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        if response.status_code == 401 and tried_scheme(request) != "bearer":
            response["WWW-Authenticate"] = "Bearer"  # no error without a token (RFC 6750 section 3.1)
        return response

    def get(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, client_id, *args, **kwargs)
        if response.status_code == 200:
            return _completed(response, _application(client_id))
        return response

    def put(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return _register(request, partial(super().put, request, client_id, *args, **kwargs))
