"""The preflight request of a browser before a script's token request: its DPoP header has to be allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.helpers.client import Site

ORIGIN = "https://app.example"


@pytest.fixture(autouse=True)
def _applications(make_site: Callable[..., Site]) -> None:
    make_site("authorization_code")
    make_site(
        "authorization_code", allowed_origins=f"https://other.example\n{ORIGIN} https://third.example:8443"
    )


def ask(origin: str, path: str = "/oauth2/token/", method: str = "POST") -> Any:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "dpop"}
    return Client().options(path, headers={"Origin": origin, **asked})


def allowed(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}


@pytest.mark.parametrize("path", ["/oauth2/token/", "/oauth2/token"])
@pytest.mark.parametrize("origin", [ORIGIN, "https://third.example:8443"])
def test_an_origin_of_an_application(origin: str, path: str) -> None:
    response = ask(origin, path)

    assert (response.status_code, response.content) == (204, b"")
    assert allowed(response) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "DPoP, Token-Binding-Name",
        "Access-Control-Max-Age": "600",
    }
    assert "Origin" in response["Vary"].split(", ")


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "https://app.exampl", "https://third.example", "http://app.example"),
        *("https://app.example.evil.example", "https://", "null", "", "https://app.example\x00", "https://ä"),
        "https://" + "a" * 10_000,
    ],
)
def test_another_origin(origin: str) -> None:
    response = ask(origin)

    assert (response.status_code, response["Allow"]) == (200, "POST, OPTIONS")
    assert allowed(response) == {}
    assert "Origin" in response["Vary"].split(", ")


def test_no_preflight_request() -> None:
    response = Client().options("/oauth2/token/", headers={"Origin": ORIGIN})

    assert (response.status_code, response["Allow"]) == (200, "POST, OPTIONS")
    assert allowed(response) == {}


@pytest.mark.parametrize("path", ["/oauth2/introspect/", "/oauth2/revoke_token/", "/oauth2/authorize/"])
def test_another_endpoint(path: str) -> None:
    assert allowed(ask(ORIGIN, path)) == {}
