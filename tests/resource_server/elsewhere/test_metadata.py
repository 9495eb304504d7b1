"""The metadata of an API in a project without the server (RFC 9728)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.resource_server import AUDIENCE, ISSUER, Api

WELL_KNOWN = "/.well-known/oauth-protected-resource"

HOST = "http://testserver"


@pytest.fixture(autouse=True)
def described(api: Api, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.resource_server.elsewhere.described_urls"


def find(api: Api, path: str) -> str | None:
    """Return the path of the metadata that a refused request names, or None."""
    found = re.search(f'resource_metadata="{HOST}([^"]+)"(?:$|, DPoP )', str(api.call(None, path).challenge))
    return found[1] if found else None


@pytest.mark.parametrize("path", ["/me/", "/plain/"])
@pytest.mark.parametrize(
    ("audience", "resource", "place"),
    [
        (HOST, HOST, WELL_KNOWN),
        (f"{HOST}/", f"{HOST}/", WELL_KNOWN),
        ([AUDIENCE, HOST, "the-api", "https://[x"], HOST, WELL_KNOWN),
        ([HOST, f"{HOST}{{path}}"], f"{HOST}{{path}}", f"{WELL_KNOWN}{{path}}"),
    ],
)
def test_the_audience_that_is_the_address_of_an_api_is_its_resource(
    api: Api, configure: Callable[..., None], path: str, audience: Any, resource: str, place: str
) -> None:
    texts = [audience] if isinstance(audience, str) else audience
    configure(AUDIENCE=[text.format(path=path) for text in texts])
    place, resource = place.format(path=path), resource.format(path=path)

    assert find(api, path) == place
    for each in (place, f"{WELL_KNOWN}{path}", f"{WELL_KNOWN}{path[:-1]}"):
        response = api.http.get(each)
        assert response["Access-Control-Allow-Origin"] == "*"
        assert response.json() == {
            "resource": resource,
            "authorization_servers": [ISSUER],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
        }


@pytest.mark.parametrize("audience", [AUDIENCE, f"{HOST}:8000", f"{HOST}/m", "https://testserver", "the-api"])
def test_no_audience_of_another_api_is_named(api: Api, configure: Callable[..., None], audience: str) -> None:
    """A token that was asked for with the address of the API would not open it."""
    configure(AUDIENCE=audience)

    assert find(api, "/me/") is None
    for path in ("", "/me/", "/nothing/"):
        assert api.http.get(f"{WELL_KNOWN}{path}").status_code == 404


def test_where_any_audience_will_do_each_api_is_a_resource(
    api: Api, introspecting: Callable[..., None]
) -> None:
    introspecting(AUDIENCE=None)

    for path in ("/me/", "/plain/"):
        assert find(api, path) == f"{WELL_KNOWN}{path}"
        assert api.http.get(f"{WELL_KNOWN}{path}").json()["resource"] == f"{HOST}{path}"
    assert api.http.get(f"{WELL_KNOWN}/nothing/").status_code == 404


def test_a_project_without_these_urls_names_none(
    api: Api, configure: Callable[..., None], settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.resource_server.elsewhere.urls"
    configure(AUDIENCE=HOST)

    assert find(api, "/me/") is None
