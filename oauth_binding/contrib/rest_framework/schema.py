"""What drf-spectacular says about ``BearerAuthentication``; loaded if it is installed."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiResponse
from oauth2_provider.settings import oauth2_settings

from oauth_binding.contrib.rest_framework.permissions import PresentsBinding
from oauth_binding.contrib.rest_framework.scopes import alternative_scopes, combined, takes_proofs_alone
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.toolkit_paths import get_scopes_backend
from oauth_binding.resource_server.bearer import get_authenticator

#: The grant types that the schema can describe: the flow, the endpoints, and the setting that refuses it.
_FLOWS: Final = {
    "authorization_code": ("authorizationCode", ["authorizationUrl", "tokenUrl"], None),
    "implicit": ("implicit", ["authorizationUrl"], "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT"),
    "password": ("password", ["tokenUrl"], "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"),
    "client_credentials": ("clientCredentials", ["tokenUrl"], None),
}

#: The name that drf-spectacular gives to django-oauth-toolkit's, which it knows in one layout only.
_OAUTH2: Final = "oauth2"

_ENDPOINTS: Final = {"authorizationUrl": "authorize", "tokenUrl": "token"}


def refusal(description: str) -> OpenApiResponse:
    """Return what a schema says about a refused request, for ``extend_schema(responses=...)``."""
    error = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return OpenApiResponse(error, description)


#: How any operation that takes tokens refuses them, by status.
REFUSALS: Final = {
    401: refusal("There are no credentials, or they are not valid."),
    403: refusal("They are not enough: they may lack a scope, or not be a user's."),
}


class BearerAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An OAuth 2.0 scheme with the flows of the server, and the scopes that each operation asks for.

    The setting ``OAUTH2_FLOWS`` of drf-spectacular and its neighbours come first. If they are not set, and
    the URLs of the project have no endpoints either, all that can be said is that it takes a bearer token.
    """

    # The schemes of an operation; drf-spectacular reads them after it has asked what the operation wants.
    name: list[str]
    target_class = "oauth_binding.contrib.rest_framework.authentication.BearerAuthentication"
    match_subclasses = True

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Return the sets of scopes, one of which the operation needs, with what else it needs."""
        view = auto_schema.view
        schemes = _schemes(view)
        self.name = [*schemes]
        wanted: dict[str, list[str]] = {name: [] for name in schemes}
        if schemes.get(_OAUTH2, {}).get("type") != "oauth2":
            return [wanted]  # no other type of scheme has scopes
        return [{**wanted, _OAUTH2: scopes} for scopes in alternative_scopes(view.request, view)]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        """Return the security scheme objects (OpenAPI 3.0.3 section 4.7.24) that the operation needs."""
        return [*_schemes(auto_schema.view).values()]


def _schemes(view: Any) -> dict[str, dict[str, Any]]:
    """Return the schemes, all of which a view needs, by their names."""
    asked = [each for permission in view.get_permissions() for each in combined(permission)]
    is_constrained = takes_proofs_alone(asked)
    schemes: dict[str, dict[str, Any]] = {}
    if flows := _chosen_flows() or _flows():
        schemes[_OAUTH2] = {"type": "oauth2", "flows": flows}
    elif not is_constrained:
        schemes[_OAUTH2] = {"type": "http", "scheme": "bearer", "bearerFormat": "OAuth 2.0 access token"}
    if is_constrained:
        schemes["dpop"] = {
            "type": "http",
            "scheme": "dpop",
            "description": "The access token as `Authorization: DPoP`, with a proof for it in the header "
            "`DPoP` (RFC 9449 section 7).",
        }
    if any(isinstance(each, PresentsBinding) for each in asked):
        schemes["tokenBinding"] = {
            "type": "apiKey",
            "in": "header",
            "name": get_authenticator().binding_header,
            "description": "What the access token is bound to, as it was sent when the token was requested.",
        }
    return schemes


def _chosen_flows() -> dict[str, dict[str, Any]]:
    """Return the flows in the site's settings for drf-spectacular."""
    endpoints = {
        "authorizationUrl": spectacular_settings.OAUTH2_AUTHORIZATION_URL,
        "tokenUrl": spectacular_settings.OAUTH2_TOKEN_URL,
    }
    refresh = spectacular_settings.OAUTH2_REFRESH_URL
    scopes = spectacular_settings.OAUTH2_SCOPES or get_scopes_backend().get_all_scopes()
    urls_of = {flow: urls for flow, urls, _gate in _FLOWS.values()}
    return {
        flow: {
            **{url: endpoints[url] for url in urls_of.get(flow, ())},
            **({"refreshUrl": refresh} if refresh else {}),
            "scopes": scopes,
        }
        for flow in spectacular_settings.OAUTH2_FLOWS
    }


def _flows() -> dict[str, dict[str, Any]]:
    endpoints = {url: endpoint_path(name) for url, name in _ENDPOINTS.items()}
    scopes = get_scopes_backend().get_all_scopes()
    return {
        flow: {**{url: endpoints[url] for url in urls}, "scopes": scopes}
        for grant_type, (flow, urls, gate) in _FLOWS.items()
        if grant_type in oauth2_settings.OAUTH2_GRANT_TYPES_SUPPORTED
        and not (gate and getattr(oauth2_settings, gate))
        and all(endpoints[url] for url in urls)
    }
