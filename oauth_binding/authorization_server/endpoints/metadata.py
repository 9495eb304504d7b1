"""The metadata of this server (RFC 8414, OpenID Connect Discovery 1.0): one document at each address."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.generic import View
from oauth2_provider import views
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.endpoints.jwks import has_keys
from oauth_binding.authorization_server.endpoints.responses import json_errors, readable_anywhere
from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.toolkit.endpoint_urls import EndpointURLsMixin
from oauth_binding.core.addresses import endpoint_url, get_issuer, get_issuer_path
from oauth_binding.core.toolkit_paths import bcp_filter_response_types
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.server_rules import token_endpoint_rules

#: The endpoints that django-oauth-toolkit does not name in both documents, each with the name of its URL.
_ENDPOINTS: Final = {"device_authorization_endpoint": "device-authorization"}
_OPENID_ENDPOINTS: Final = {"userinfo_endpoint": "user-info", "end_session_endpoint": "rp-initiated-logout"}

#: The endpoints that a grant takes part in; all other grants use only the token endpoint.
_ENDPOINTS_OF_GRANTS: Final = {
    "authorization_code": {"authorization_endpoint", "token_endpoint"},
    "implicit": {"authorization_endpoint"},
    AbstractApplication.GRANT_DEVICE_CODE: {"device_authorization_endpoint", "token_endpoint"},
}


@method_decorator((readable_anywhere, json_errors), name="dispatch")
class OAuthServerMetadataView(EndpointURLsMixin, views.OAuthServerMetadataView):
    """The authorization server metadata (RFC 8414 section 3).

    Where OpenID Connect is on, it has the members of OpenID Connect, too, and is the document that
    ``ConnectDiscoveryInfoView`` returns. Endpoints that the site does not serve are left out.
    """

    def get(self, request: HttpRequest, issuer_path: str = "", **kwargs: Any) -> HttpResponse:
        _check_issuer_path(issuer_path)
        response: HttpResponse = super().get(request, **kwargs)
        response.content = json.dumps(_complete(request, json.loads(response.content)))
        return response


class ConnectDiscoveryInfoView(views.ConnectDiscoveryInfoView):
    """The OpenID provider configuration (OpenID Connect Discovery 1.0 section 4)."""

    def get(self, request: HttpRequest, issuer_path: str = "", **kwargs: Any) -> HttpResponse:
        view = OAuthServerMetadataView()
        view.setup(request)
        return view.get(request, issuer_path)


# They do not derive from django-oauth-toolkit's views: the issuer is not what stands before *their*
# addresses.
@method_decorator((login_not_required, readable_anywhere, json_errors), name="dispatch")
class MetadataAtRootView(View):
    """The metadata where RFC 8414 section 3.1 has it: the path of the issuer follows the well-known one."""

    document: ClassVar[type[View]] = OAuthServerMetadataView

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.document.as_view()(request, *args, **kwargs)


class OpenIDConfigurationAtRootView(MetadataAtRootView):
    """The same for clients that ask for the OpenID provider configuration (RFC 8414 section 5)."""

    document = ConnectDiscoveryInfoView


def _check_issuer_path(asked: str) -> None:
    """Refuse the path of an issuer that does not exist; without a path, the only issuer is meant.

    :raises Http404: the path is that of another issuer.
    """
    if asked.strip("/") not in {"", get_issuer_path().strip("/")}:
        raise Http404


def _complete(request: HttpRequest, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return django-oauth-toolkit's metadata, completed with what else this server has."""
    metadata["issuer"] = get_issuer(request)
    metadata |= _endpoints(request, _ENDPOINTS)
    if has_keys() or oauth2_settings.OIDC_ENABLED:
        metadata |= _endpoints(request, {"jwks_uri": "jwks-info"})
    metadata["grant_types_supported"] = [
        name
        for name in dict.fromkeys([*metadata["grant_types_supported"], GRANT_TYPE])
        if _ENDPOINTS_OF_GRANTS.get(name, {"token_endpoint"}) <= metadata.keys()
    ]
    metadata["response_types_supported"] = bcp_filter_response_types(_listed("RESPONSE_TYPES_SUPPORTED"))
    _add_authentication_methods(metadata)
    metadata |= DPOP.metadata(token_endpoint_rules())
    if oauth2_settings.OIDC_ENABLED:
        metadata |= _openid(request)
    return metadata


def _endpoints(request: HttpRequest, names: dict[str, str]) -> dict[str, str]:
    urls = {member: endpoint_url(request, name) for member, name in names.items()}
    return {member: url for member, url in urls.items() if url is not None}


def _add_authentication_methods(metadata: dict[str, Any]) -> None:
    """Say how clients authenticate; public ones do not, and can't introspect tokens."""
    methods = _listed("TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED", otherwise=["none"])
    offered = {
        "token": methods,
        "revocation": methods,
        "introspection": [method for method in methods if method != "none"],
    }
    for endpoint, methods in offered.items():
        if f"{endpoint}_endpoint" in metadata:
            metadata[f"{endpoint}_endpoint_auth_methods_supported"] = methods


def _listed(name: str, otherwise: Sequence[str] = ()) -> list[str]:
    """Return a list for which django-oauth-toolkit has one setting for each of its two documents.

    The one that the site has set is used; if it has set both or neither, OpenID Connect's is used where that
    is on.

    :param name: the name of the settings, without their prefixes.
    :param otherwise: what is added to the list if the site has not set it.
    """
    settings = [f"OIDC_{name}"] * bool(oauth2_settings.OIDC_ENABLED) + [f"OAUTH2_{name}"]
    chosen = [setting for setting in settings if setting in oauth2_settings.user_settings]
    if chosen:
        return list(getattr(oauth2_settings, chosen[0]))
    return [*getattr(oauth2_settings, settings[0]), *otherwise]


def _openid(request: HttpRequest) -> dict[str, Any]:
    """Return the members that OpenID Connect adds to those of RFC 8414, as django-oauth-toolkit has them."""
    names = dict(_OPENID_ENDPOINTS)
    if not oauth2_settings.OIDC_RP_INITIATED_LOGOUT_ENABLED:
        del names["end_session_endpoint"]
    members: dict[str, Any] = _endpoints(request, names)
    if oauth2_settings.OIDC_USERINFO_ENDPOINT:
        members["userinfo_endpoint"] = oauth2_settings.OIDC_USERINFO_ENDPOINT
    claims = oauth2_settings.OAUTH2_VALIDATOR_CLASS().get_discovery_claims(request)
    algorithms = [AbstractApplication.RS256_ALGORITHM] * bool(oauth2_settings.OIDC_RSA_PRIVATE_KEY)
    creates = ["create"] * bool(oauth2_settings.OIDC_RP_INITIATED_REGISTRATION_ENABLED)
    return members | {
        "subject_types_supported": oauth2_settings.OIDC_SUBJECT_TYPES_SUPPORTED,
        "id_token_signing_alg_values_supported": [*algorithms, AbstractApplication.HS256_ALGORITHM],
        "claims_supported": sorted(set(claims)),
        "prompt_values_supported": ["none", "login", *creates],
        # OpenID Connect Back-Channel Logout 1.0 section 2.1.
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }
