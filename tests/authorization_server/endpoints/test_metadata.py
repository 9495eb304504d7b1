"""The metadata: one document at each of its addresses, which says what there is and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, override_settings
from django.test.utils import override_script_prefix
from django.urls import include, path, resolve
from oauth2_provider.settings import DEFAULTS

from oauth_binding import urls
from oauth_binding.authorization_server.endpoints.token import TokenView
from tests.helpers.provider import provider

pytestmark = pytest.mark.django_db

ORIGIN = "http://testserver"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

OAUTH = "/oauth2/.well-known/oauth-authorization-server"
OPENID = "/oauth2/.well-known/openid-configuration"

#: Where clients look for the metadata of http://testserver/oauth2, and whether it is OpenID Connect's.
ADDRESSES = {
    # RFC 8414 section 3.1.
    "/.well-known/oauth-authorization-server/oauth2": False,
    "/.well-known/oauth-authorization-server/oauth2/": False,
    # RFC 8414 section 5.
    "/.well-known/openid-configuration/oauth2": True,
    # OpenID Connect Discovery 1.0 section 4.
    OPENID: True,
    f"{OPENID}/": True,
    # As older clients have it.
    OAUTH: False,
    f"{OAUTH}/oauth2": False,
    # For who knows the host of an API and no issuer.
    "/.well-known/oauth-authorization-server": False,
    "/.well-known/openid-configuration": True,
}

METHODS = ["client_secret_post", "client_secret_basic"]

#: By member: where OpenID Connect is off.
MEMBERS: dict[str, Any] = {
    "issuer": f"{ORIGIN}/oauth2",
    "authorization_endpoint": f"{ORIGIN}/oauth2/authorize/",
    "token_endpoint": f"{ORIGIN}/oauth2/token/",
    "revocation_endpoint": f"{ORIGIN}/oauth2/revoke_token/",
    "introspection_endpoint": f"{ORIGIN}/oauth2/introspect/",
    "device_authorization_endpoint": f"{ORIGIN}/oauth2/device-authorization/",
    "jwks_uri": f"{ORIGIN}/oauth2/.well-known/jwks.json",
    "token_endpoint_auth_methods_supported": [*METHODS, "none"],
    "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
    # Public clients can't.
    "introspection_endpoint_auth_methods_supported": METHODS,
    "grant_types_supported": [*DEFAULTS["OAUTH2_GRANT_TYPES_SUPPORTED"], EXCHANGE],
    "response_types_supported": ["code", "token"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
    "scopes_supported": ["devices:read", "devices:write", "introspection", "openid", "read", "write"],
    "client_id_metadata_document_supported": False,
}

#: And those that differ, or come beside them, where it is on.
OPENID_MEMBERS: dict[str, Any] = {
    "response_types_supported": DEFAULTS["OIDC_RESPONSE_TYPES_SUPPORTED"],
    "userinfo_endpoint": f"{ORIGIN}/oauth2/userinfo/",
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256", "HS256"],
    "claims_supported": ["sub"],
    "prompt_values_supported": ["none", "login"],
    # OpenID Connect Back-Channel Logout 1.0 section 2.1.
    "backchannel_logout_supported": True,
    "backchannel_logout_session_supported": True,
}


def read(address: str = OAUTH) -> dict[str, Any]:
    response = Client().get(address)
    assert response.status_code == 200, address
    assert response["Content-Type"] == "application/json"
    assert response["Access-Control-Allow-Origin"] == "*"
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.parametrize("address", ADDRESSES)
def test_it_is_one_document_at_each_address(address: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert read(address) == MEMBERS | OPENID_MEMBERS

    with provider(OIDC_ENABLED=False), django_assert_num_queries(0):
        if ADDRESSES[address]:
            assert Client().get(address).status_code == 404
        else:
            assert read(address) == MEMBERS


def test_the_site_can_say_where_the_userinfo_endpoint_is() -> None:
    with provider(OIDC_USERINFO_ENDPOINT="https://users.example/me"):
        assert read(OPENID)["userinfo_endpoint"] == "https://users.example/me"


@pytest.mark.parametrize(
    "address",
    [
        "/.well-known/oauth-authorization-server/another",
        "/.well-known/oauth-authorization-server/oauth2/more",
        "/.well-known/openid-configuration/another",
        f"{OAUTH}/another",
    ],
)
def test_there_is_no_other_issuer(address: str) -> None:
    assert Client().get(address).status_code == 404


def test_each_address_in_it_leads_somewhere() -> None:
    with provider(DCR_ENABLED=True, OIDC_RP_INITIATED_LOGOUT_ENABLED=True):
        document = read()
    endpoints = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}

    assert endpoints.keys() >= {"registration_endpoint", "end_session_endpoint"}
    for url in endpoints.values():
        assert url.startswith(f"{ORIGIN}/oauth2/")
        assert resolve(url.removeprefix(ORIGIN))


LISTS = {
    "TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": ("token_endpoint_auth_methods_supported", "client_secret_basic"),
    "RESPONSE_TYPES_SUPPORTED": ("response_types_supported", "code"),
}


@pytest.mark.parametrize("prefix", ["OAUTH2", "OIDC"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_the_sites_own_is_in_both_documents(prefix: str, name: str) -> None:
    member, value = LISTS[name]
    with provider(**{f"{prefix}_{name}": [value]}):
        assert read(OAUTH)[member] == read(OPENID)[member] == [value]
    with provider(**{f"OAUTH2_{name}": ["another"], f"OIDC_{name}": [value]}):
        assert read(OAUTH)[member] == read(OPENID)[member] == [value]


def test_an_issuer_of_the_sites_own() -> None:
    """A proxy has the site at another path, and asks it for the metadata of that."""
    with provider(OIDC_ISS_ENDPOINT="https://id.example/auth/"):
        document = read("/.well-known/oauth-authorization-server/auth")

        assert document["issuer"] == "https://id.example/auth/"
        assert document["token_endpoint"] == "https://id.example/oauth2/token/"
        assert read("/.well-known/openid-configuration/auth") == document
        assert Client().get("/.well-known/oauth-authorization-server/oauth2").status_code == 404


def test_a_site_under_a_path_of_the_server() -> None:
    with override_script_prefix("/site/"):
        document = read("/.well-known/oauth-authorization-server/site/oauth2")

        assert document["issuer"] == f"{ORIGIN}/site/oauth2"
        assert document["token_endpoint"] == f"{ORIGIN}/site/oauth2/token/"


def test_an_issuer_that_is_the_whole_host() -> None:
    with override_settings(ROOT_URLCONF=(path("", include("oauth_binding.urls")),)):
        document = read("/.well-known/oauth-authorization-server")

        assert document["issuer"] == ORIGIN
        assert document["token_endpoint"] == f"{ORIGIN}/token/"
        assert read("/.well-known/openid-configuration") == document


def without(*names: str) -> Any:
    """Serve the metadata, and the endpoints but for some."""
    served = [pattern for pattern in urls.urlpatterns if pattern.name and pattern.name not in names]
    root = (path("oauth2/", include((served, "oauth2_provider"))), *urls.metadata_urlpatterns)
    return override_settings(ROOT_URLCONF=root)


#: By endpoint: the members that go with it, and the grants.
LEFT_OUT = {
    "authorize": (
        {"authorization_endpoint", "code_challenge_methods_supported"},
        {"authorization_code", "implicit"},
    ),
    "token": (
        {"token_endpoint", "token_endpoint_auth_methods_supported"},
        {"authorization_code", "password", "client_credentials", "refresh_token", DEVICE, EXCHANGE},
    ),
    "device-authorization": ({"device_authorization_endpoint"}, {DEVICE}),
    "introspect": ({"introspection_endpoint", "introspection_endpoint_auth_methods_supported"}, set()),
    "revoke-token": ({"revocation_endpoint", "revocation_endpoint_auth_methods_supported"}, set()),
    "jwks-info": ({"jwks_uri"}, set()),
    "user-info": ({"userinfo_endpoint"}, set()),
    "rp-initiated-logout": ({"end_session_endpoint"}, set()),
    "dcr-register": ({"registration_endpoint"}, set()),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_endpoint_that_the_site_does_not_serve_is_left_out(name: str) -> None:
    members, grants = LEFT_OUT[name]
    with provider(DCR_ENABLED=True, OIDC_RP_INITIATED_LOGOUT_ENABLED=True):
        whole = read()
        with without(name):
            document = read()
            assert read(OPENID) == read("/.well-known/oauth-authorization-server/oauth2") == document

    assert whole.keys() - document.keys() == members
    assert set(whole["grant_types_supported"]) - set(document["grant_types_supported"]) == grants
    rest = {member: value for member, value in whole.items() if member not in members}
    assert document == rest | {"grant_types_supported": document["grant_types_supported"]}


def test_the_metadata_alone_at_the_root() -> None:
    root = (path("oauth2/token", TokenView.as_view()), *urls.metadata_urlpatterns)
    with override_settings(ROOT_URLCONF=root):
        document = read("/.well-known/oauth-authorization-server")

    assert document["issuer"] == ORIGIN
    assert document["token_endpoint"] == f"{ORIGIN}/oauth2/token"
    assert not {"authorization_endpoint", "introspection_endpoint"} & document.keys()
