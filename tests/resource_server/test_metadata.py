"""The metadata of APIs (RFC 9728): each is told apart, and a refused request is told where its own is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext, override_script_prefix
from django.urls import include, path

from oauth_binding.resource_server import BearerError, authorize
from tests.helpers.client import Site
from tests.resource_server.apis import Described
from tests.resource_server.apis import urlpatterns as all_urlpatterns

HOST = "http://testserver"

WELL_KNOWN = "/.well-known/oauth-protected-resource"

#: APIs of all kinds; the last is a view that knows nothing of tokens, behind the middleware.
APIS = [
    *(
        "/drf/any/",
        "/mixin/scoped/",
        "/decorator/scoped/",
        "/async-mixin/scoped/",
        "/async-decorator/scoped/",
    ),
    "/session/",
]


def call_authorize(request: HttpRequest) -> HttpResponse:
    """Answer in a view that nobody can tell from others."""
    try:
        authorize(request)
    except BearerError as error:
        return error.response(request)
    return HttpResponse()


class Everything:
    """URLs with more odd views."""

    urlpatterns = [
        *all_urlpatterns,
        path("named/<str:name>/", Described.as_view()),
        path("authorize/", call_authorize),
        path("<path:page>.html", call_authorize),
    ]


class UnderOnePath:
    """URLs of a site without those at the root."""

    urlpatterns = [
        path("oauth2/", include("oauth_binding.urls")),
        path("drf/any/", Described.as_view()),
        path("authorize/", call_authorize),
    ]


class InANamespace:
    """The same in a namespace of the site's own."""

    urlpatterns = [
        path("oauth2/", include("oauth_binding.urls", namespace="auth")),
        *UnderOnePath.urlpatterns[1:],
    ]


class AtRoot:
    """URLs of a site whose server is the whole host."""

    urlpatterns = [*UnderOnePath.urlpatterns[1:], path("", include("oauth_binding.urls"))]


@pytest.fixture(autouse=True)
def apis() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Everything):
        yield


def get(path: str, **headers: str) -> Any:
    middleware = [*site_settings.MIDDLEWARE, "tests.resource_server.apis.TokenMiddleware"]
    with override_settings(MIDDLEWARE=middleware) if "session" in path else nullcontext():
        return Client(headers=headers).get(path)


def find(api: str) -> str | None:
    """Return the path of the metadata that a refused request to an API names, or None."""
    challenge = get(api, Authorization="Bearer unknown")["WWW-Authenticate"]
    found = re.search(f',resource_metadata="{HOST}([^"]+)"(?:$|, DPoP )', challenge)
    return found[1] if found else None


def describe(api: str) -> Any:
    """Return the resource of the metadata that a refused request to an API names."""
    named = find(api)
    return None if named is None else get(named).json()["resource"]


@pytest.mark.parametrize("api", APIS)
def test_a_refused_request_is_told_of_the_metadata_of_its_api(db: None, api: str) -> None:
    named = find(api)
    assert named == f"{WELL_KNOWN}{api}"

    with CaptureQueriesContext(connection) as queries:
        response = get(named)

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == "*"
    # Where clients look that ask for the metadata of an address; some leave the slash out.
    for place in (f"{WELL_KNOWN}{api}", f"{WELL_KNOWN}{api[:-1]}", f"/oauth2{WELL_KNOWN}{api}"):
        assert get(place).json() == response.json()
    assert response.json()["resource"] == f"{HOST}{api}"
    assert response.json()["bearer_methods_supported"] == ["header"]
    (issuer,) = response.json()["authorization_servers"]
    assert issuer == get("/oauth2/.well-known/oauth-authorization-server").json()["issuer"]
    assert len(queries) == 0


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_token_for_the_resource_of_an_api_opens_that_and_no_other(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    token = make_bound(token_type).bound("phone", resource=describe("/drf/any/")).access

    opened = {api for api in APIS if get(api, Authorization=f"Bearer {token}").status_code == 200}

    assert opened == {"/drf/any/"}


@pytest.mark.parametrize(
    "asked",
    [
        "/nothing/",
        "/admin/",
        "/oauth2/token/",
        "/session/",  # without the middleware
        "/page.html",
        "//evil.example/drf/any/",
        "/../drf/any/",
        "/http://evil.example/",
    ],
)
def test_what_takes_no_tokens_is_no_resource(db: None, asked: str) -> None:
    for place in (f"{WELL_KNOWN}{asked}", f"/oauth2{WELL_KNOWN}{asked}"):
        response = Client().get(place)

        assert response.status_code == 404
        assert response["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("asked", ["/admin/", "/oauth2/authorize/"])
def test_pages_that_the_middleware_leaves_alone_are_no_resources(db: None, asked: str) -> None:
    middleware = [*site_settings.MIDDLEWARE, "tests.resource_server.apis.TokenMiddleware"]
    with override_settings(MIDDLEWARE=middleware):
        assert Client().get(f"{WELL_KNOWN}{asked}").status_code == 404


def test_a_site_can_make_its_apis_one_resource(make_bound: Callable[..., Site], settings: Any) -> None:
    whole = f"{HOST}/drf"
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": whole,
    }

    assert find("/drf/any/") == find("/drf/read-write/") == f"{WELL_KNOWN}/drf"
    assert describe("/drf/any/") == describe("/drf/read-write/") == whole
    assert get(f"{WELL_KNOWN}/drf/any/").json()["resource"] == whole
    assert describe("/mixin/scoped/") == f"{HOST}/mixin/scoped/"
    assert get(WELL_KNOWN).json()["resource"] == whole
    token = make_bound().bound("phone", resource=whole).access
    assert [get(api, Authorization=f"Bearer {token}").status_code for api in APIS[:2]] == [200, 401]


def test_an_api_that_can_not_be_told_from_other_views_is_part_of_the_host(db: None) -> None:
    assert find("/authorize/") == WELL_KNOWN
    assert describe("/authorize/") == HOST


@pytest.mark.parametrize("name", ["a%20b", "%22,x=%22", "%C3%A9", "a=b;c", "%3F", "a%5Cb"])
def test_the_resource_is_spelt_as_the_address(db: None, name: str) -> None:
    assert describe(f"/named/{name}/") == f"{HOST}/named/{name}/"


def test_an_address_that_no_header_can_hold_is_left_out(db: None) -> None:
    assert find("/named/a%0Ab/") is None


@pytest.mark.parametrize("urls", [UnderOnePath, InANamespace])
def test_a_site_with_the_urls_under_one_path_has_the_metadata_there(
    db: None, settings: Any, urls: type
) -> None:
    settings.ROOT_URLCONF = urls

    assert find("/drf/any/") == f"/oauth2{WELL_KNOWN}/drf/any/"
    assert describe("/drf/any/") == f"{HOST}/drf/any/"
    assert find("/authorize/") is None
    # That of the server, for its own endpoints.
    assert get(f"/oauth2{WELL_KNOWN}").json()["resource"] == f"{HOST}/oauth2"


def test_a_site_with_the_urls_at_the_root_has_the_metadata_there(db: None, settings: Any) -> None:
    settings.ROOT_URLCONF = AtRoot

    assert find("/drf/any/") == f"{WELL_KNOWN}/drf/any/"
    assert find("/authorize/") == WELL_KNOWN
    assert describe("/authorize/") == HOST


def test_a_site_under_a_path_of_its_host(db: None, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/site"
    with override_script_prefix("/site/"):
        assert find("/drf/any/") == f"/site{WELL_KNOWN}/site/drf/any/"
        assert get(f"{WELL_KNOWN}/site/drf/any/").json()["resource"] == f"{HOST}/site/drf/any/"
        assert get(f"{WELL_KNOWN}/drf/any/").status_code == 404
