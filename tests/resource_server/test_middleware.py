"""A middleware that signs in by bearer tokens: for what they were granted, and not where sessions decide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings

from oauth_binding.resource_server import BearerTokenMiddleware
from tests.helpers.client import PASSWORD, Site
from tests.resource_server.apis import TokenMiddleware

#: The site's, before these tests add to it.
MIDDLEWARE = list(settings.MIDDLEWARE)

SCOPES = "openid read write introspection devices:read devices:write"

#: Pages of the admin and of the server, which a session alone opens.
SESSION_PAGES = [
    "/admin/",
    "/admin/auth/user/",
    "/admin/oauth2_provider/application/add/",
    "/backoffice/",
    "/backoffice/auth/user/",
    "/oauth2/authorize/?response_type=code&client_id=x",
    "/oauth2/device/",
    "/oauth2/applications/",
    "/oauth2/applications/register/",
    "/oauth2/authorized_tokens/",
    "/oauth2/devices/",
]


class ByMethod(BearerTokenMiddleware):
    def get_required_scopes(self, request: HttpRequest) -> Sequence[str]:
        return ["read"] if request.method == "GET" else ["write"]


class AnyToken(BearerTokenMiddleware):
    required_scopes = ()


class WithAdmin(TokenMiddleware):
    session_apps = ["oauth2_provider"]


def to_admin(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that gives requests other URLs, as sites with several tenants do."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.urlconf = "tests.resource_server.test_middleware.tenant"
        return get_response(request)

    return middleware


def reads_the_user(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that reads the user before the view does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.user.get_username()
        response = get_response(request)
        response["X-User"] = name
        return response

    return middleware


def installed(*paths: str) -> Any:
    names = [path if "." in path else f"{__name__}.{path}" for path in paths]
    return override_settings(MIDDLEWARE=[*MIDDLEWARE, *names])


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    with (
        override_settings(ROOT_URLCONF="tests.resource_server.apis"),
        installed("tests.resource_server.apis.TokenMiddleware", "reads_the_user"),
    ):
        yield


@pytest.fixture
def token(user: User, make_bound: Callable[..., Site]) -> str:
    """Return a token of a superuser, for everything that is offered."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    return make_bound().bound("phone", scope=SCOPES).access


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", SESSION_PAGES)
def test_a_token_opens_no_page_that_is_for_sessions(token: str, path: str) -> None:
    without, response = Client().get(path), Client().get(path, headers=bearer(token))

    assert without.status_code == response.status_code == 302
    assert without["Location"] == response["Location"]
    # Also to the middlewares that come next.
    assert response["X-User"] == ""


@pytest.mark.parametrize("path", [path for path in SESSION_PAGES if "?" not in path])
def test_a_session_opens_them_whatever_token_comes_with_it(token: str, user: User, path: str) -> None:
    browser = Client()
    assert browser.login(username=user.username, password=PASSWORD)

    for text in (token, "unknown"):
        response = browser.get(path, headers=bearer(text))
        assert response.status_code == 200
        assert response["X-User"] == user.username


@pytest.mark.parametrize("path", ["/admin/auth/user/add/", "/oauth2/device/", "/admin/logout/"])
def test_with_a_token_a_session_still_needs_a_csrf_token(token: str, user: User, path: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.login(username=user.username, password=PASSWORD)

    assert browser.post(path, {"user_code": "x"}, headers=bearer(token)).status_code == 403


def test_the_server_still_takes_tokens_where_it_does(token: str) -> None:
    assert Client().get("/oauth2/userinfo/", headers=bearer(token)).status_code == 200
    introspected = Client().post("/oauth2/introspect/", {"token": token}, headers=bearer(token))
    assert introspected.json()["active"]
    assert Client().get("/api/devices/", headers=bearer(token)).status_code == 200


def test_a_token_needs_the_scopes(token: str, make_bound: Callable[..., Site]) -> None:
    other = make_bound().bound("phone", scope="write").access

    assert Client().get("/session/", headers=bearer(token)).json() == {"user": "alice"}
    response = Client().get("/session/", headers=bearer(other))
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]
    assert 'scope="read"' in response["WWW-Authenticate"]


def test_scopes_may_depend_on_the_request(make_bound: Callable[..., Site]) -> None:
    reading = make_bound().bound("phone", scope="read").access
    client = Client(enforce_csrf_checks=True)

    with installed("ByMethod"):
        assert client.get("/session/", headers=bearer(reading)).status_code == 200
        assert client.post("/session/", headers=bearer(reading)).status_code == 403


def test_a_site_may_let_any_token_sign_in(make_bound: Callable[..., Site]) -> None:
    other = make_bound().bound("phone", scope="write").access

    with installed("AnyToken"):
        assert Client().get("/session/", headers=bearer(other)).json() == {"user": "alice"}


def test_a_site_may_open_its_admin(token: str) -> None:
    with installed("WithAdmin"):
        assert Client().get("/admin/", headers=bearer(token)).status_code == 200
        assert Client().get("/oauth2/devices/", headers=bearer(token)).status_code == 302


def test_it_has_to_be_said_which_scopes(user: User) -> None:
    with (
        installed("oauth_binding.resource_server.BearerTokenMiddleware"),
        pytest.raises(ImproperlyConfigured, match="does not say which scopes"),
    ):
        Client().get("/session/")


def test_other_urls_are_no_way_around(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A middleware that comes after it chooses others, where the admin is at the address of a plain page."""
    from django.contrib import admin
    from django.urls import path

    tenant = ModuleType("tests.resource_server.test_middleware.tenant")
    tenant.urlpatterns = [path("session/", admin.site.urls)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, tenant.__name__, tenant)

    with installed("tests.resource_server.apis.TokenMiddleware", "to_admin"):
        response = Client().get("/session/", headers=bearer(token))
        assert response.status_code == 403
        assert "No access token opens this resource." in response["WWW-Authenticate"]
        assert Client().get("/session/").status_code == 302


def test_an_address_that_is_none_is_not_found(token: str) -> None:
    assert Client().get("/nowhere/", headers=bearer(token)).status_code == 404


def test_the_toolkits_middleware_next_to_it_changes_nothing(token: str) -> None:
    with installed(
        "tests.resource_server.apis.TokenMiddleware", "oauth2_provider.middleware.OAuth2ExtraTokenMiddleware"
    ):
        assert Client().get("/oauth2/userinfo/", headers=bearer(token)).status_code == 200
        assert Client().get("/session/", headers=bearer(token)).json() == {"user": "alice"}


def test_a_token_of_a_client_signs_nobody_in(make_site: Callable[..., Site]) -> None:
    text = make_site("client_credentials").token(scope="read").access

    assert Client().get("/session/", headers=bearer(text)).json() == {"user": ""}
