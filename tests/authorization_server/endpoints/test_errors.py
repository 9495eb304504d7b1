"""What refused clients are told: JSON, the challenge of what they tried, and CORS where an answer has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import URLPattern

from oauth_binding.urls import urlpatterns
from tests.helpers.bad_input import TOKEN
from tests.helpers.client import PASSWORD, REDIRECT_URI, SECRET, Answer, Site
from tests.helpers.exchange import GRANT_TYPE
from tests.helpers.provider import provider

FORM: Final = "application/x-www-form-urlencoded"
INTROSPECTION: Final = "/oauth2/introspect/"
DEVICE_AUTHORIZATION: Final = "/oauth2/device-authorization/"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

BASIC: Final = 'Basic realm="client"'

#: Where clients authenticate themselves, and with what they might get through: each grant is a door.
DOORS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "password": (TOKEN, {"grant_type": "password", "username": "alice", "password": PASSWORD}),
    "client credentials": (TOKEN, {"grant_type": "client_credentials"}),
    "code": (TOKEN, {"grant_type": "authorization_code", "code": "x", "redirect_uri": REDIRECT_URI}),
    "refresh": (TOKEN, {"grant_type": "refresh_token", "refresh_token": "x"}),
    "device code": (TOKEN, {"grant_type": DEVICE_GRANT, "device_code": "x"}),
    "exchange": (
        TOKEN,
        {
            "grant_type": GRANT_TYPE,
            "subject_token": "x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    ),
    "introspection": (INTROSPECTION, {"token": "x"}),
    "revocation": ("/oauth2/revoke_token/", {"token": "x"}),
    "device authorization": (DEVICE_AUTHORIZATION, {}),
}

#: What users see, and not clients: pages, and where their forms go.
PAGES: Final = {
    *("authorize", "device", "device-confirm", "device-grant-status", "rp-initiated-logout"),
    *("list", "register", "detail", "delete", "update", "authorized-token-list", "authorized-token-delete"),
    *("device-list", "device-sign-out", "device-sign-out-others", "device-rename"),
    "login-session-sign-out",
}

#: What the scripts of every site may read.
PUBLIC: Final = {
    *("oauth-server-metadata", "oauth-server-metadata-issuer", "oidc-connect-discovery-info", "jwks-info"),
    *("oauth-resource-metadata", "oauth-resource-metadata-path"),
}


def assert_error(answer: Answer, status: int, error: str) -> None:
    assert (answer.status, answer["error"]) == (status, error), answer.data
    assert answer.headers["Content-Type"] == "application/json"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("door", DOORS)
class TestChallenges:
    """RFC 6749 section 5.2."""

    def challenge(self, site: Site, door: str, credentials: dict[str, str], authorization: str = "") -> Any:
        path, form = DOORS[door]
        headers = {"Authorization": authorization} if authorization else {}
        answer = site.post(path, {**form, **credentials}, authenticate=False, headers=headers)
        is_token = authorization.startswith("Bearer") and path == INTROSPECTION
        assert_error(answer, 401, "invalid_token" if is_token else "invalid_client")
        return answer.headers.get("WWW-Authenticate")

    def test_http_basic(self, make_site: Callable[..., Site], door: str) -> None:
        site = make_site()
        site.secret = "wrong"

        assert self.challenge(site, door, {}, site.basic()["Authorization"]) == BASIC
        assert self.challenge(site, door, {}, "Basic %%%") == BASIC
        assert self.challenge(site, door, {}, "basic eDp5") == BASIC

    def test_in_the_body(self, make_site: Callable[..., Site], door: str) -> None:
        site = make_site()
        wrong = {"client_id": site.application.client_id, "client_secret": "wrong"}

        # A browser that is challenged asks its user for a password.
        assert self.challenge(site, door, wrong) is None
        assert self.challenge(site, door, {**wrong, "client_id": "nobody"}) is None
        assert self.challenge(site, door, {"client_id": site.application.client_id}) is None

    def test_a_bearer_token(self, make_site: Callable[..., Site], door: str) -> None:
        challenge = self.challenge(make_site(), door, {}, "Bearer x")

        assert challenge.startswith("Bearer")
        assert "Basic" not in challenge

    def test_nothing(self, make_site: Callable[..., Site], door: str) -> None:
        challenge = self.challenge(make_site(), door, {})

        assert challenge.startswith(BASIC)
        assert ("Bearer" in challenge) is (door == "introspection")

    def test_two_clients(self, make_site: Callable[..., Site], door: str) -> None:
        site = make_site()
        others = [make_site(), make_site(client_type="public")]

        for other in others:
            named = {"client_id": other.application.client_id}
            for body in (named, {**named, "client_secret": SECRET}):
                assert self.challenge(site, door, body, site.basic()["Authorization"]) == BASIC

    def test_a_name_that_is_no_clients_is_no_second(self, make_site: Callable[..., Site], door: str) -> None:
        site = make_site()
        path, form = DOORS[door]
        named = {"client_id": site.application.client_id, "client_secret": SECRET}

        # Of a proxy before the site, for instance.
        proxy = {"Authorization": "Basic c3RhZ2luZzpzdGFnaW5n"}
        answer = site.post(path, {**form, **named}, authenticate=False, headers=proxy)

        assert answer.data.get("error") != "invalid_client"

    def test_one_client_twice_is_one(self, make_site: Callable[..., Site], door: str) -> None:
        site = make_site()
        path, form = DOORS[door]

        answer = site.post(path, {**form, "client_id": site.application.client_id})

        assert answer.status in {200, 400}
        assert answer.data.get("error") != "invalid_client"


@pytest.mark.parametrize("path", [TOKEN, INTROSPECTION, "/oauth2/revoke_token/", DEVICE_AUTHORIZATION])
class TestBodies:
    def post(self, site: Site, path: str, body: str, content_type: str) -> Answer:
        response = site.http.generic("POST", path, body, content_type, headers=site.basic())
        return Answer(response.status_code, json.loads(response.content), dict(response.headers))

    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
    def test_another_content_type(self, make_site: Callable[..., Site], path: str, content_type: str) -> None:
        answer = self.post(make_site(), path, '{"grant_type": "client_credentials"}', content_type)

        assert_error(answer, 415, "invalid_request")
        assert FORM in answer["error_description"]

    @override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=10, DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
    def test_what_django_does_not_read(self, make_site: Callable[..., Site], path: str) -> None:
        site = make_site()

        for body, content_type in (
            ("x=y&" * 20, FORM),
            ("x=" + "y" * 2000, FORM),
            ("x=y", f"{FORM}; charset=latin-1"),
            ("--x", "multipart/form-data"),
        ):
            answer = self.post(site, path, body, content_type)
            assert_error(answer, 400, "invalid_request")
            assert answer["error_description"] == "The body is malformed or too large."


def addresses() -> Iterator[Any]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        path = str(pattern.pattern).replace("^", "").replace("\\", "").replace("/?$", "")
        for converter in ("<path:issuer_path>", "<path:resource_path>", "<str:client_id>"):
            path = path.replace(converter, "x")
        if pattern.name not in PAGES:
            yield pytest.param(f"/oauth2/{path}", pattern.name in PUBLIC, id=path)


@pytest.mark.django_db
class TestOfDjangoItself:
    @pytest.mark.parametrize(("path", "is_public"), list(addresses()))
    def test_methods_that_an_address_does_not_take(self, path: str, is_public: bool) -> None:
        with provider(DCR_ENABLED=True):
            response = Client().patch(path)

        # Introspection authenticates first.
        assert response.status_code == (401 if "introspect" in path else 405)
        assert response["Content-Type"] == "application/json"
        assert response.json()["error"]
        assert (response.get("Access-Control-Allow-Origin") == "*") is is_public
        if response.status_code == 405:
            assert response["Allow"] in response.json()["error_description"]

    @pytest.mark.parametrize("name", ["userinfo/", ".well-known/openid-configuration", "register/"])
    def test_what_is_switched_off(self, name: str) -> None:
        with provider(OIDC_ENABLED=False):
            response = Client().get(f"/oauth2/{name}")

        assert (response.status_code, response.json()) == (404, {"error": "not_found"})

    @override_settings(OAUTH_BINDING={"REVOCATION_FEED": False})
    def test_the_revocation_feed_switched_off(self) -> None:
        response = Client().get("/oauth2/revoked-tokens/")

        assert (response.status_code, response.json()) == (404, {"error": "not_found"})

    def test_userinfo(self) -> None:
        response = Client().get("/oauth2/userinfo/", headers={"Authorization": "Bearer x"})

        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
        assert response["Content-Type"] == "application/json"
        assert 'error="invalid_token"' in response["WWW-Authenticate"]

    @pytest.mark.parametrize("scheme", ["", "Basic", "Bearer"])
    def test_registration_management(self, make_site: Callable[..., Site], scheme: str) -> None:
        headers = {"Authorization": f"{scheme} eDp5"} if scheme else {}
        with provider(DCR_ENABLED=True):
            response = Client().get("/oauth2/register/x/", headers=headers)

        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
        # Without a token there is no error to tell of it (RFC 6750 section 3.1).
        assert ("error=" in response["WWW-Authenticate"]) is (scheme == "Bearer")
        assert response["WWW-Authenticate"].startswith("Bearer")


class TestCORS:
    """A script may read an error where it may read an answer: of two grants, and of its own client."""

    ORIGIN: Final = "https://app.example"

    def allowed(self, site: Site, form: dict[str, str], origin: str = ORIGIN) -> tuple[int, str | None]:
        form = {"client_id": site.application.client_id, **form}
        answer = site.post(TOKEN, form, authenticate=False, headers={"Origin": origin})
        return answer.status, answer.headers.get("Access-Control-Allow-Origin")

    @pytest.fixture
    def site(self, make_bound: Callable[..., Site]) -> Site:
        return make_bound(
            grant_type="authorization_code",
            client_type="public",
            allowed_origins=self.ORIGIN,
            additional_grant_types="password",
            require_binding="yes",
        )

    def test_of_a_code(self, site: Site) -> None:
        form = {**site.authorization_code(), "tokenBindingId": "phone"}

        assert self.allowed(site, {**form, "code_verifier": "x" * 43}) == (400, self.ORIGIN)
        assert self.allowed(site, {**form, "code": "a\x00"}) == (400, self.ORIGIN)
        assert self.allowed(site, {**form, "tokenBindingId": "\x07"}) == (400, self.ORIGIN)
        assert self.allowed(site, {**form, "tokenBindingId": ""}) == (400, self.ORIGIN)
        assert self.allowed(site, {**form, "client_secret": "x"}) == (401, self.ORIGIN)
        assert self.allowed(site, form) == (200, self.ORIGIN)
        assert self.allowed(site, form) == (400, self.ORIGIN)

    def test_of_a_refresh_token(self, site: Site) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": "x"}

        assert self.allowed(site, form) == (400, self.ORIGIN)

    def test_of_others(self, site: Site, make_site: Callable[..., Site]) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": "x"}
        password = {"grant_type": "password", "username": "alice", "password": "x"}

        assert self.allowed(site, form, "https://evil.example") == (400, None)
        assert self.allowed(site, form, "http://app.example") == (400, None)
        assert self.allowed(site, form, "null") == (400, None)
        assert self.allowed(make_site(), form) == (401, None)
        assert self.allowed(site, {**form, "client_id": "nobody"}) == (401, None)
        assert self.allowed(site, {**form, "client_id": "a\x00"}) == (401, None)
        assert self.allowed(site, {**form, "client_id": "a" * 300}) == (401, None)
        assert self.allowed(site, {**password, "tokenBindingId": "phone"}) == (400, None)

    def test_without_an_origin(self, site: Site) -> None:
        answer = site.post(TOKEN, {"grant_type": "refresh_token"}, authenticate=False)

        assert "Access-Control-Allow-Origin" not in answer.headers


class TestParametersWithoutAValue:
    """They count as omitted (RFC 6749 sections 3.1 and 3.2): a scope, for instance, at every door."""

    @pytest.mark.parametrize("grant_type", ["password", "client_credentials", DEVICE_GRANT])
    def test_at_the_token_endpoint(self, make_site: Callable[..., Site], grant_type: str) -> None:
        site = make_site(grant_type)
        form = {**dict(site.grant()), "scope": "", "resource": "", "code": "", "refresh_token": ""}

        answer = site.post(TOKEN, form)

        assert (answer.status, answer.data.get("scope")) == (200, "read write")

    def test_of_a_code_and_a_refresh(self, make_site: Callable[..., Site]) -> None:
        site = make_site("authorization_code")

        pair = site.post(TOKEN, {**site.authorization_code("read"), "scope": "", "resource": ""})
        assert pair["scope"] == "read"
        assert site.refresh(pair.refresh, scope="", resource="")["scope"] == "read"

    def test_at_the_device_authorization_endpoint(self, make_site: Callable[..., Site]) -> None:
        site = make_site(DEVICE_GRANT)

        assert site.post(DEVICE_AUTHORIZATION, {"scope": " "}).status == 200
        started = site.post(DEVICE_AUTHORIZATION, {"scope": ""})
        site.accept_device(started["user_code"])
        form = {"grant_type": DEVICE_GRANT, "device_code": started["device_code"]}

        assert site.post(TOKEN, form)["scope"] == "read write"

    def test_at_the_authorization_endpoint(self, make_site: Callable[..., Site], user: User) -> None:
        application = make_site("authorization_code").application
        browser = Client()
        browser.force_login(user)
        query = {
            "response_type": "code",
            "client_id": application.client_id,
            "redirect_uri": REDIRECT_URI,
            "code_challenge": "x" * 43,
            "code_challenge_method": "S256",
        }
        empty = {"scope": "", "resource": "", "prompt": "", "max_age": "", "claims": "", "nonce": ""}

        page = browser.get(f"/oauth2/authorize/?{urlencode({**query, **empty, 'state': ''})}")

        assert page.status_code == 200
        assert page.context["scopes"] == ["read", "write"]
