"""What drf-spectacular says of :class:`BearerAuthentication`; loaded where it is installed."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiResponse
from oauth2_provider.settings import oauth2_settings

from oauth_binding.contrib.rest_framework.permissions import PresentsBinding
from oauth_binding.contrib.rest_framework.scopes import alternative_scopes, combined
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.toolkit_paths import get_scopes_backend
from oauth_binding.resource_server.bearer import get_authenticator

#: The grant types that the schema has words for: the flow, the endpoints, and which gate closes it.
_FLOWS: Final = {
    "authorization_code": ("authorizationCode", ["authorizationUrl", "tokenUrl"], None),
    "implicit": ("implicit", ["authorizationUrl"], "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT"),
    "password": ("password", ["tokenUrl"], "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"),
    "client_credentials": ("clientCredentials", ["tokenUrl"], None),
}

_ENDPOINTS: Final = {"authorizationUrl": "authorize", "tokenUrl": "token"}


def refusal(description: str) -> OpenApiResponse:
    """Return what a schema says of a request that is refused, for ``extend_schema(responses=...)``."""
    error = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return OpenApiResponse(error, description)


#: How any operation that takes tokens refuses them, by status.
REFUSALS: Final = {
    401: refusal("There are no credentials, or they are not valid."),
    403: refusal("They are not enough: they may lack a scope, or be no user's."),
}


class BearerAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An OAuth 2.0 scheme with the flows of the server, and the scopes that each operation asks for.

    The setting ``OAUTH2_FLOWS`` of drf-spectacular and its neighbours come first. Where there are none, and
    the URLs of the project have no endpoints either, all that can be said is that it takes a bearer
    token.
    """

    # The first as drf-spectacular calls that of django-oauth-toolkit, which it knows of one layout only.
    name = ["oauth2", "tokenBinding"]
    target_class = "oauth_binding.contrib.rest_framework.authentication.BearerAuthentication"
    match_subclasses = True

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Return the sets of scopes of which the operation wants one, with a binding where it wants that."""
        view = auto_schema.view
        token, binding = self.name
        presented: dict[str, list[str]] = {binding: []} if _presents_binding(view) else {}
        if not (spectacular_settings.OAUTH2_FLOWS or _flows()):
            return [{token: [], **presented}]  # no other type of scheme has scopes
        return [{token: scopes, **presented} for scopes in alternative_scopes(view.request, view)]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        """Return the security scheme objects (OpenAPI 3.0.3 section 4.7.24) that the operation needs."""
        flows = _chosen_flows() or _flows()
        token = (
            {"type": "oauth2", "flows": flows}
            if flows
            else {"type": "http", "scheme": "bearer", "bearerFormat": "OAuth 2.0 access token"}
        )
        binding = {
            "type": "apiKey",
            "in": "header",
            "name": get_authenticator().binding_header,
            "description": "What the access token is bound to, as it was sent when the token was requested.",
        }
        return [token, binding] if _presents_binding(auto_schema.view) else [token]


def _presents_binding(view: Any) -> bool:
    return any(
        isinstance(each, PresentsBinding)
        for permission in view.get_permissions()
        for each in combined(permission)
    )


def _chosen_flows() -> dict[str, dict[str, Any]]:
    """Return the flows that the site's settings of drf-spectacular have."""
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
