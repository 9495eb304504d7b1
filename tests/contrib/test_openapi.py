"""The OpenAPI schema of the example project: what it says, and that the site does as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.test import Client, override_settings
from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from hypothesis import HealthCheck, settings
from oauth2_provider.contrib.rest_framework import (
    IsAuthenticatedOrTokenHasScope,
    TokenHasResourceScope,
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from rest_framework.permissions import AllowAny, IsAuthenticated

from example_project.api import WhoAmI
from example_project.wsgi import application
from oauth_binding.authorization_server.endpoints.token import TokenView
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.contrib.rest_framework import (
    BearerAuthentication,
    IsBound,
    IsSenderConstrained,
    PresentsBinding,
)
from oauth_binding.devices import MAX_NAME_LENGTH, devices_of, validate_name
from oauth_binding.models import TokenPolicy
from tests.helpers.client import Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider

SCHEMA = "/api/schema/"

#: A site without a token endpoint.
urlpatterns = [path("api/me/", WhoAmI.as_view())]


def schema() -> dict[str, Any]:
    """Return the schema as a client gets it."""
    response = Client().get(SCHEMA, {"format": "json"})
    assert response.status_code == 200
    answered: dict[str, Any] = json.loads(response.content)
    return answered


def generate(patterns: Any = None) -> dict[str, Any]:
    """Return the schema of some URL patterns, by default of the site's."""
    generator: Any = SchemaGenerator
    described: dict[str, Any] = generator(patterns=patterns).get_schema(public=True)
    return described


def scheme() -> dict[str, Any]:
    found: dict[str, Any] = schema()["components"]["securitySchemes"]["oauth2"]
    return found


# What it says


def test_it_is_valid_and_leaves_nothing_unsaid(tmp_path: Path) -> None:
    call_command("spectacular", file=str(tmp_path / "schema.yml"), validate=True, fail_on_warn=True)


def test_operations_name_the_scopes_that_a_token_needs() -> None:
    named = {
        (method.upper(), address): operation["security"]
        for address, operations in schema()["paths"].items()
        for method, operation in operations.items()
    }

    def either(scope: str) -> list[dict[str, list[str]]]:
        return [{"oauth2": [scope]}, {"cookieAuth": []}]

    assert named == {
        ("GET", "/api/devices/"): either("devices:read"),
        ("GET", "/api/devices/{id}/"): either("devices:read"),
        ("PATCH", "/api/devices/{id}/"): either("devices:write"),
        ("DELETE", "/api/devices/{id}/"): either("devices:write"),
        ("POST", "/api/devices/{id}/sign-out-others/"): either("devices:write"),
        ("POST", "/api/devices/sign-out-others/"): either("devices:write"),
        ("GET", "/api/me/"): [{"oauth2": ["read"]}],
        ("POST", "/oauth2/token/"): [{"client": []}, {}],
    }


def test_the_scheme_has_the_flows_and_scopes_of_the_server() -> None:
    found = scheme()

    assert found["type"] == "oauth2"
    endpoints = {
        flow: {name: url for name, url in described.items() if name != "scopes"}
        for flow, described in found["flows"].items()
    }
    assert endpoints == {
        "authorizationCode": {"authorizationUrl": "/oauth2/authorize/", "tokenUrl": "/oauth2/token/"},
        "implicit": {"authorizationUrl": "/oauth2/authorize/"},
        "password": {"tokenUrl": "/oauth2/token/"},
        "clientCredentials": {"tokenUrl": "/oauth2/token/"},
    }
    for flow in found["flows"].values():
        assert {"read", "devices:read", "devices:write"} <= flow["scopes"].keys()


def test_flows_that_the_server_refuses_are_not_there() -> None:
    with provider(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=True, COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=True):
        assert scheme()["flows"].keys() == {"authorizationCode", "clientCredentials"}
    with provider(OAUTH2_GRANT_TYPES_SUPPORTED=["password"]):
        assert scheme()["flows"].keys() == {"password"}


def test_flows_whose_endpoints_the_site_does_not_serve_are_not_there() -> None:
    root: Any = ModuleType("urls")
    root.urlpatterns = [*urlpatterns, path("auth/", include(([path("token", TokenView.as_view())], "auth")))]
    with override_settings(ROOT_URLCONF=root):
        flows = generate()["components"]["securitySchemes"]["oauth2"]["flows"]

    assert {flow: each["tokenUrl"] for flow, each in flows.items()} == {
        "password": "/auth/token",
        "clientCredentials": "/auth/token",
    }


@pytest.mark.parametrize("urls", ["example_project.urls", __name__])
def test_the_site_may_say_itself_what_the_flows_are(urls: str) -> None:
    chosen = {
        "OAUTH2_FLOWS": ["clientCredentials"],
        "OAUTH2_TOKEN_URL": "https://login.example/token",
        "OAUTH2_SCOPES": {"read": "Read"},
    }
    with override_settings(ROOT_URLCONF=urls), patched_settings(chosen):
        described = generate()

    assert described["components"]["securitySchemes"]["oauth2"]["flows"] == {
        "clientCredentials": {"tokenUrl": "https://login.example/token", "scopes": {"read": "Read"}}
    }
    assert described["paths"]["/api/me/"]["get"]["security"] == [{"oauth2": ["read"]}]


def test_where_the_server_is_elsewhere_it_is_a_bearer_token() -> None:
    with override_settings(ROOT_URLCONF=__name__):
        described = generate()

    found = described["components"]["securitySchemes"]["oauth2"]
    assert (found["type"], found["scheme"]) == ("http", "bearer")
    # OpenAPI 3.0.3 section 4.7.30: the list must be empty for this type.
    assert described["paths"]["/api/me/"]["get"]["security"] == [{"oauth2": []}]


def test_the_name_of_a_device_is_described() -> None:
    body = schema()["paths"]["/api/devices/{id}/"]["patch"]["requestBody"]["content"]
    name = body["application/json"]["schema"]["properties"]["name"]

    assert (name["type"], name["maxLength"]) == ("string", MAX_NAME_LENGTH)
    for text, is_name in (("", True), ("My \u2706", True), ("a\n", False), ("\x9f", False)):
        assert bool(re.search(name["pattern"].replace("$", r"\Z"), text)) is is_name


#: Either of two sets of scopes.
EITHER = [{"oauth2": ["a", "b"]}, {"oauth2": ["a:read", "b:read"]}]


class OurBearerAuthentication(BearerAuthentication):
    """A site's own."""


@pytest.mark.parametrize("authentication", [BearerAuthentication, OurBearerAuthentication])
@pytest.mark.parametrize(
    ("permissions", "security"),
    [
        ([IsAuthenticated], [{"oauth2": []}]),
        ([IsAuthenticated, IsBound], [{"oauth2": []}]),
        ([AllowAny], [{"oauth2": []}, {}]),
        ([TokenHasScope], [{"oauth2": ["a", "b"]}]),
        ([TokenHasResourceScope], [{"oauth2": ["a:read", "b:read"]}]),
        ([TokenHasScope, TokenHasResourceScope], [{"oauth2": ["a", "b", "a:read", "b:read"]}]),
        ([IsAuthenticatedOrTokenHasScope], [{"oauth2": ["a", "b"]}]),
        ([TokenMatchesOASRequirements], [{"oauth2": ["c"]}, {"oauth2": ["d", "e"]}]),
        ([TokenHasScope | IsBound], [{"oauth2": ["a", "b"]}, {"oauth2": []}]),
        ([TokenHasScope & IsBound], [{"oauth2": ["a", "b"]}]),
        ([~IsBound & (TokenHasScope | TokenHasResourceScope)], EITHER),
        ([PresentsBinding], [{"oauth2": [], "tokenBinding": []}]),
        ([TokenHasScope & PresentsBinding], [{"oauth2": ["a", "b"], "tokenBinding": []}]),
        ([IsSenderConstrained], [{"oauth2": [], "dpop": []}]),
        ([TokenHasScope & IsSenderConstrained], [{"oauth2": ["a", "b"], "dpop": []}]),
        ([IsSenderConstrained, PresentsBinding], [{"oauth2": [], "dpop": [], "tokenBinding": []}]),
    ],
)
def test_the_scopes_of_other_permissions(authentication: Any, permissions: Any, security: Any) -> None:
    class View(WhoAmI):
        authentication_classes = [authentication]
        permission_classes = permissions
        required_scopes = ["a", "b"]
        required_alternate_scopes = {"GET": [["c"], ["d", "e"]]}

    described = generate([path("view/", View.as_view())])

    assert described["paths"]["/view/"]["get"]["security"] == security


class Presented(WhoAmI):
    permission_classes = [PresentsBinding]


@pytest.mark.parametrize("header", ["Token-Binding-Id", "X-Device"])
def test_the_header_that_names_a_binding_can_be_sent(header: str, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "BINDING_HEADER": header}

    found = generate([path("view/", Presented.as_view())])["components"]["securitySchemes"]["tokenBinding"]

    assert (found["type"], found["in"], found["name"]) == ("apiKey", "header", header)


class Constrained(WhoAmI):
    permission_classes = [IsSenderConstrained]


def test_a_view_without_bearer_tokens_has_the_scheme_of_proofs() -> None:
    described = generate([path("view/", Constrained.as_view()), *urlpatterns])
    schemes = described["components"]["securitySchemes"]

    assert (schemes["dpop"]["type"], schemes["dpop"]["scheme"]) == ("http", "dpop")
    assert described["paths"]["/api/me/"]["get"]["security"] == [{"oauth2": ["read"]}]

    with override_settings(ROOT_URLCONF=__name__):
        elsewhere = generate([path("view/", Constrained.as_view())])
    assert elsewhere["components"]["securitySchemes"] == {"dpop": schemes["dpop"]}
    assert elsewhere["paths"]["/view/"]["get"]["security"] == [{"dpop": []}]


def test_names_are_those_that_the_api_takes() -> None:
    body = schema()["paths"]["/api/devices/{id}/"]["patch"]["requestBody"]
    pattern = re.compile(body["content"]["application/json"]["schema"]["properties"]["name"]["pattern"])

    def is_taken(name: str) -> bool:
        try:
            validate_name(name)
        except ValidationError:
            return False
        return True

    # Halves of characters are in no JSON, and others have two of them there.
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    assert [each for each in characters if (pattern.fullmatch(each) is not None) != is_taken(each)] == []
    assert (is_taken("a \U0001f9d1\u200d\U0001f4bb"), is_taken("a\u202eb"), is_taken("\u200b")) == (
        True,
        False,
        False,
    )


def test_the_token_endpoint_takes_a_proof(make_bound: Callable[..., Site], settings: Any) -> None:
    operation = schema()["paths"]["/oauth2/token/"]["post"]
    parameters = {each["name"]: each["in"] for each in operation["parameters"]}
    assert parameters == {"DPoP": "header", "Token-Binding-Name": "header"}
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "DPOP_NONCES": "token_endpoint"}
    site = make_bound()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    proof = DeviceKey().proof("POST", "/oauth2/token/")

    refused = site.post("/oauth2/token/", site.grant(), headers={"DPoP": proof})

    assert refused["error"] == "use_dpop_nonce"
    (told,) = operation["responses"][str(refused.status)]["headers"]
    assert told in refused.headers


def test_the_token_endpoint_takes_a_binding(make_bound: Callable[..., Site]) -> None:
    operation = schema()["paths"]["/oauth2/token/"]["post"]
    (content,) = operation["requestBody"]["content"]
    form = operation["requestBody"]["content"][content]["schema"]
    site = make_bound()
    sent = site.grant(tokenBindingId="x" * form["properties"]["tokenBindingId"]["maxLength"])

    assert content == "application/x-www-form-urlencoded"
    assert {name for name, _value in sent} <= form["properties"].keys()
    assert site.post("/oauth2/token/", sent).status == 200
    assert site.post("/oauth2/token/", [*sent[:-1], ("tokenBindingId", sent[-1][1] + "x")]).status == 400


# That the site does so


#: What the schema has for the ids of devices, and their references, or else their names.
DEVICES = {"this": binding_reference("phone")[:12], "another": binding_reference("laptop")[:12]}
DEVICES["shared"] = "Mail on other devices"
DEVICES["unbound"] = "News on unknown devices"


def described_site() -> Any:
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "generation": {
                "max-examples": 20,
                "deterministic": True,
                "database": "none",
                # Credentials come from the test.
                "with-security-parameters": False,
            },
        }
    )
    found = schemathesis.openapi.from_wsgi(SCHEMA, application, config=config)
    # schemathesis can leave out and forge only credentials of which the schema says how they are sent.
    found.raw_schema["components"]["securitySchemes"]["oauth2"] = {"type": "http", "scheme": "bearer"}
    del found.raw_schema["paths"]["/oauth2/token/"]  # the credentials are those of APIs
    for operations in found.raw_schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "id":
                    parameter["schema"]["enum"] = list(DEVICES)
    return found


@pytest.fixture
def token(make_bound: Callable[..., Site], make_site: Callable[..., Site]) -> str:
    """Return an access token of a user who has devices of each kind."""
    mail, news = make_bound("jwt", name="Mail"), make_site(name="News")
    for binding in (None, "laptop"):
        mail.bound(binding)
    news.token()
    return mail.bound("phone", scope="read devices:read devices:write").access


@pytest.fixture
def headers(token: str) -> Iterator[dict[str, str]]:
    """Return what the requests have in common, which go to the application itself.

    The connection with the transaction of the test outlives them, as with Django's own client.
    """
    signals = [request_started, request_finished]
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield {"Authorization": f"Bearer {token}"}
    for signal in signals:
        signal.connect(close_old_connections)


@described_site().parametrize()  # type: ignore[untyped-decorator]
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_site_does_as_the_schema_says(case: Any, headers: dict[str, str], user: User) -> None:
    # What was generated stays as good or bad as it was.
    case.freeze_metadata()
    device = DEVICES.get(case.path_parameters.get("id"))
    if device is not None:
        (case.path_parameters["id"],) = [
            found.id for found in devices_of(user) if device in (found.reference, found.name)
        ]
    with transaction.atomic():
        case.call_and_validate(headers=headers)
        transaction.set_rollback(True)
