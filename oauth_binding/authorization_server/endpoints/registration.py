"""Dynamic client registration (RFC 7591, RFC 7592): several grant types, and sender-constrained tokens.

django-oauth-toolkit registers one grant type. It is given the primary one here; what it answers and stores is
completed with the others and with the token policy, and its answer with what RFC 7591 requires.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

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
from oauth_binding.models import DPOP, Demand, TokenPolicy, policy_of, policy_problems
from oauth_binding.resource_server.bearer import BearerError, add_proof_headers, get_authenticator
from oauth_binding.resource_server.proven_request import prove, with_proof_challenge
from oauth_binding.storage.presented import presenting

#: The metadata by which a client has all its tokens sender-constrained (RFC 9449 section 5.2).
_BOUND_TOKENS: Final = "dpop_bound_access_tokens"

_RFC_NAMES = {constant: name for name, constant in GRANT_TYPE_MAP.items()}


def _rank(name: str) -> int:
    """Put first what the toolkit refuses, then what needs redirect_uris: it sees just the primary type."""
    constant = GRANT_TYPE_MAP.get(name)
    if constant is None:
        return 0
    return 1 if constant in REDIRECT_REQUIRED_GRANT_TYPES else 2


def _metadata(request: HttpRequest) -> dict[str, Any]:
    """Return the client metadata of a request; none where it is malformed, as the toolkit answers then."""
    try:
        metadata = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _take_additional_grant_types(request: HttpRequest, metadata: dict[str, Any]) -> str:
    """Leave just the primary grant type in the request, and return the others as the model keeps them.

    A request that has not several, or is malformed, is left for the toolkit to answer as it is.
    """
    names = metadata.get("grant_types")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ""
    distinct = dict.fromkeys(name for name in names if name not in IGNORED_GRANT_TYPES)
    primary, *additional = sorted(distinct, key=_rank) or [""]
    if additional:
        # What request.body answers from now on.
        request._body = json.dumps({**metadata, "grant_types": [primary]}).encode()
    return " ".join(GRANT_TYPE_MAP.get(name, name) for name in additional)


def _application(client_id: str) -> Any:
    return written(get_application_model()).select_related("token_policy").get(client_id=client_id)


def _store_policy(application: Any, metadata: dict[str, Any]) -> None:
    """Demand proofs of a client that asks for it; it does not lift a demand, which may be the operator's.

    :raises ValidationError: it asks for what can't be, or is demanded what it could not do.
    """
    is_bound = metadata.get(_BOUND_TOKENS)
    if _BOUND_TOKENS in metadata and not isinstance(is_bound, bool):
        raise ValidationError(f"{_BOUND_TOKENS} must be true or false")
    policy = policy_of(application)
    if is_bound is False and policy.demands_proof:
        raise ValidationError(f"{_BOUND_TOKENS} is true, and can't be changed by the client")
    if is_bound and not policy.demands_proof:
        demanded = {"sender_constraint": DPOP, "require_sender_constraint": Demand.YES}
        policy, _is_new = written(TokenPolicy).update_or_create(application=application, defaults=demanded)
        application.token_policy = policy
    if policy.demands_proof:
        for _field, error in policy_problems(application, policy):
            raise error


def _completed(response: HttpResponse, application: Any) -> HttpResponse:
    """Complete a client information response (RFC 7591 section 3.2.1)."""
    client = json.loads(response.content)
    if application.additional_grant_types:
        names = [_RFC_NAMES.get(constant, constant) for constant in application.allowed_grant_types]
        if "authorization_code" in names:
            names.append("refresh_token")  # as the toolkit says it for this one
        client["grant_types"] = names
    if policy_of(application).demands_proof:
        client[_BOUND_TOKENS] = True
    if "client_secret" in client:
        client["client_secret_expires_at"] = 0  # never; required where there is a secret
    response.content = json.dumps(client)
    return response


def _register(request: HttpRequest, toolkit_method: Callable[[], HttpResponse]) -> HttpResponse:
    """Let the toolkit register the primary grant type, and store the rest; all of it or nothing."""
    metadata = _metadata(request)
    additional = _take_additional_grant_types(request, metadata)
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
            _store_policy(application, metadata)
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
        try:
            proven = prove(request)
            if proven is None:
                response: HttpResponse = super().dispatch(request, *args, **kwargs)
            else:
                get_authenticator().find_token(proven.credentials, request)
                proven.record()
                with presenting(proven.request.META):
                    response = super().dispatch(proven.request, *args, **kwargs)
        except BearerError as error:
            return error.response(request)
        add_proof_headers(request, response)
        if response.status_code == 401:
            # No error without a token (RFC 6750 section 3.1).
            bearer = response["WWW-Authenticate"] if tried_scheme(request) == "bearer" else "Bearer"
            response["WWW-Authenticate"] = with_proof_challenge(bearer)
        return response

    def get(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, client_id, *args, **kwargs)
        if response.status_code == 200:
            return _completed(response, _application(client_id))
        return response

    def put(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return _register(request, partial(super().put, request, client_id, *args, **kwargs))
