"""Dynamic client registration (RFC 7591, RFC 7592): several grant types, constrained tokens, logout.

django-oauth-toolkit registers one grant type. Here it is given the primary one; what it stores and answers is
then completed with the others, with the token policy, and with what RFC 7591 requires of an answer.
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
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.endpoints.audited import audited
from oauth_binding.authorization_server.endpoints.responses import json_errors, tried_scheme
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.setting_rules import is_positive
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import (
    GRANT_TYPE_MAP,
    IGNORED_GRANT_TYPES,
    REDIRECT_REQUIRED_GRANT_TYPES,
)
from oauth_binding.models import DPOP, Demand, TokenPolicy, policy_of, policy_problems
from oauth_binding.resource_server.bearer import BearerError, add_proof_headers, get_authenticator
from oauth_binding.resource_server.proven_request import prove, with_proof_challenge
from oauth_binding.storage.presented import presenting

#: The metadata with which a client asks for sender-constrained tokens only (RFC 9449 section 5.2).
_BOUND_TOKENS: Final = "dpop_bound_access_tokens"

#: That of OpenID Connect Back-Channel Logout 1.0 section 2.2, named as in the token policy: the type, and
#: what errors call it. A member that is left out counts as the empty value.
_LOGOUT: Final[dict[str, tuple[type[Any], str]]] = {
    "backchannel_logout_uri": (str, "a string"),
    "backchannel_logout_session_required": (bool, "true or false"),
}

_RFC_NAMES = {constant: name for name, constant in GRANT_TYPE_MAP.items()}


def _rank(name: str) -> int:
    """Put first what the toolkit refuses, then what needs redirect_uris: it sees only the first type."""
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
    """Leave only the primary grant type in the request, and return the others as the model keeps them.

    A request that does not have several, or is malformed, is left as it is for the toolkit to answer.
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
    """Demand proofs of a client that asks for it, and keep where it wants its logout tokens.

    It does not lift a demand, which may be the operator's.

    :raises ValidationError: it asks for something impossible, or something is demanded that it could not do.
    """
    is_bound = metadata.get(_BOUND_TOKENS)
    if _BOUND_TOKENS in metadata and not isinstance(is_bound, bool):
        raise ValidationError(f"{_BOUND_TOKENS} must be true or false")
    policy = policy_of(application)
    if is_bound is False and policy.demands_proof:
        raise ValidationError(f"{_BOUND_TOKENS} is true, and can't be changed by the client")
    chosen = _limited(policy, metadata)
    chosen |= _logout(policy, metadata)
    if is_bound and not policy.demands_proof:
        chosen |= {"sender_constraint": DPOP, "require_sender_constraint": Demand.YES}
    for field, value in chosen.items():
        setattr(policy, field, value)
    # Before it is written: not every value fits into a column.
    for field, error in policy_problems(application, policy):
        if field in _LOGOUT:
            # An algorithm is for the operator to choose, before the client gets ID tokens.
            if error.code != "no_signing_algorithm":
                raise ValidationError(f"{field}: {' '.join(error.messages)}")
        elif chosen or error.code == "unmet_demand":
            raise error
    if chosen:
        policy, _is_new = written(TokenPolicy).update_or_create(application=application, defaults=chosen)
        application.token_policy = policy


def _limited(policy: TokenPolicy, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what the site's limits and the client's request change in a policy.

    The least value counts, including the policy's present one, which may be the operator's. Clients can't ask
    for what the site has no limit for (RFC 7591 section 2: what is not understood is ignored).

    :raises ValidationError: it names the member that is not a number of seconds.
    """
    changed = {}
    for field, limit in binding_settings.registration_limits.items():
        asked = metadata.get(field, limit)
        if not is_positive(asked):
            raise ValidationError(f"{field} must be a whole number above 0")
        held = getattr(policy, field)
        least = min(asked, limit) if held is None else min(asked, limit, held)
        if least != held:
            changed[field] = least
    return changed


def _logout(policy: TokenPolicy, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what changes in a policy when a client says where it wants its logout tokens.

    What is left out is taken away (RFC 7592 section 2.2). Without OpenID Connect, none of it is understood.

    :raises ValidationError: it names the member that has the wrong type.
    """
    changed: dict[str, Any] = {}
    if not oauth2_settings.OIDC_ENABLED:
        return changed
    for field, (kind, description) in _LOGOUT.items():
        asked = metadata.get(field)
        if asked is not None and not isinstance(asked, kind):
            raise ValidationError(f"{field} must be {description}")
        if (asked or kind()) != getattr(policy, field):
            changed[field] = asked or kind()
    return changed


def _completed(response: HttpResponse, application: Any) -> HttpResponse:
    """Complete a client information response (RFC 7591 section 3.2.1)."""
    client = json.loads(response.content)
    if application.additional_grant_types:
        names = [_RFC_NAMES.get(constant, constant) for constant in application.allowed_grant_types]
        if "authorization_code" in names:
            names.append("refresh_token")  # as the toolkit says it for this one
        client["grant_types"] = names
    policy = policy_of(application)
    if policy.demands_proof:
        client[_BOUND_TOKENS] = True
    for field in binding_settings.registration_limits:
        client[field] = getattr(policy, field)
    if policy.backchannel_logout_uri:
        client |= {field: getattr(policy, field) for field in _LOGOUT}
    if "client_secret" in client:
        client["client_secret_expires_at"] = 0  # never; required where there is a secret
    response.content = json.dumps(client)
    return response


def _tell(event: Event, request: HttpRequest, client_id: str) -> None:
    """Have the audit log say what happened to a registration."""
    if not audit.is_on():
        return  # who else may be signed in is not looked up
    user = getattr(request, "user", None)
    facts = Facts(client_id=client_id, user=None if user is None else user.pk, meta=request.META)
    audit.tell(event, write_alias(get_application_model()), facts)


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
            is_new = response.status_code == 201
            _tell(Event.CLIENT_REGISTERED if is_new else Event.CLIENT_CHANGED, request, application.client_id)
            return _completed(response, application)
    except ValidationError as error:
        description = " ".join(error.messages)
        return JsonResponse(
            {"error": "invalid_client_metadata", "error_description": description}, status=400
        )


@method_decorator((audited(Event.REGISTRATION_REFUSED), json_errors), name="dispatch")
class DynamicClientRegistrationView(views.DynamicClientRegistrationView):
    """The client registration endpoint (RFC 7591 section 3)."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _register(request, partial(super().post, request, *args, **kwargs))


# Overriding dispatch() drops what the overridden class was decorated with, so it stands here again.
@method_decorator(
    (csrf_exempt, login_not_required, audited(Event.REGISTRATION_REFUSED), json_errors), name="dispatch"
)
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

    def delete(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().delete(request, client_id, *args, **kwargs)
        if response.status_code == 204:
            _tell(Event.CLIENT_DELETED, request, client_id)
        return response
