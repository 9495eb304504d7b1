"""Sites that have the URLs in a namespace of their own, or serve only some of the endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.test import Client, override_settings
from django.urls import include, path
from django.views.generic import View

from oauth_binding.authorization_server.endpoints.introspection import IntrospectTokenView
from oauth_binding.authorization_server.endpoints.token import TokenView
from oauth_binding.resource_server import BearerTokenMiddleware
from oauth_binding.urls import metadata_urlpatterns, urlpatterns
from tests.helpers.client import Site, verify_jwt
from tests.helpers.provider import provider

pytestmark = pytest.mark.django_db

#: How a site may include the URLs at oauth2/: in which namespace they are then.
INCLUDED: dict[str, Any] = {
    "an instance": include("oauth_binding.urls", namespace="auth"),
    "a namespace of the site's": include((urlpatterns, "auth")),
    "nested": include(([path("", include("oauth_binding.urls"))], "accounts")),
    "none": include(urlpatterns),
}

ISSUER = "http://testserver/oauth2"


class ReadingMiddleware(BearerTokenMiddleware):
    required_scopes = ["read"]


@pytest.fixture(params=INCLUDED)
def included(request: pytest.FixtureRequest) -> Any:
    others: list[Any] = [
        # What is called like an endpoint, and is none.
        path("api/token/", View.as_view(), name="token"),
        *(
            each
            for each in import_module(settings.ROOT_URLCONF).urlpatterns
            if str(each.pattern) != "oauth2/"
        ),
    ]
    changes = {
        "ROOT_URLCONF": (*others, path("oauth2/", INCLUDED[request.param])),
        # The site's own setting names its own namespace.
        "LOGIN_REDIRECT_URL": "/",
    }
    with override_settings(**changes):
        yield


@pytest.mark.usefixtures("included")
class TestIncluded:
    """All of the URLs, in a namespace."""

    def test_tokens(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound("jwt")
        first = site.bound("phone")
        answer = site.refresh(first.refresh)

        assert answer.claims["iss"] == ISSUER
        introspected = site.introspect(answer.access)
        assert (introspected["active"], introspected["iss"]) == (True, ISSUER)
        assert site.introspect(answer.refresh)["iss"] == ISSUER
        assert site.api(answer.access) == 200
        assert site.revoke(answer.access).status == 200
        assert site.api(answer.access) == 401
        feed = Client().get("/oauth2/revoked-tokens/")
        assert verify_jwt(feed.content.decode())["iss"] == ISSUER

    def test_a_login_in_a_browser(self, make_site: Callable[..., Site], user: User) -> None:
        site = make_site("authorization_code", token_type="jwt")
        with provider(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=True):
            answer = site.token(scope="openid read")
        assert answer.claims["iss"] == verify_jwt(answer["id_token"])["iss"] == ISSUER

    def test_authorization_responses(self, make_site: Callable[..., Site], user: User) -> None:
        site = make_site("authorization_code", additional_grant_types="implicit")
        browser = Client()
        browser.force_login(user)
        form = {
            "client_id": site.application.client_id,
            "redirect_uri": "https://client.example/callback",
            "scope": "read",
            "allow": "Authorize",
            "code_challenge": "x" * 43,
            "code_challenge_method": "S256",
        }
        with provider(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=True):
            for response_type in ("code", "token"):
                response = browser.post("/oauth2/authorize/", {**form, "response_type": response_type})
                address = urlsplit(response["Location"])
                assert parse_qs(f"{address.query}&{address.fragment}")["iss"] == [ISSUER]

    def test_the_metadata(self) -> None:
        document = Client().get("/.well-known/oauth-authorization-server/oauth2").json()

        assert document["issuer"] == ISSUER
        assert document["token_endpoint"] == f"{ISSUER}/token/"
        assert document["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"
        for path_ in ("oauth-authorization-server", "openid-configuration"):
            assert Client().get(f"/oauth2/.well-known/{path_}").json() == document
        for path_ in ("/oauth2/{}", "/oauth2/{}/api/me/", "/{}", "/{}/api/me/"):
            resource = Client().get(path_.format(".well-known/oauth-protected-resource")).json()
            assert resource["authorization_servers"] == [ISSUER]

    def test_a_device(self, make_site: Callable[..., Site]) -> None:
        site = make_site("urn:ietf:params:oauth:grant-type:device_code")
        started = site.start_device()
        browser = Client()
        browser.force_login(site.user)  # type: ignore[arg-type]
        page = browser.post("/oauth2/device/", {"user_code": started["user_code"]})
        assert page["Location"].startswith("/oauth2/device-confirm/")
        done = browser.post(page["Location"], {"action": "accept"})
        assert done["Location"].startswith("/oauth2/device-grant-status/")
        assert browser.get(done["Location"]).status_code == 200

    def test_registration(self, user: User) -> None:
        browser = Client()
        browser.force_login(user)
        with provider(DCR_ENABLED=True):
            metadata = {"grant_types": ["client_credentials"], "client_name": "Registered"}
            created = browser.post("/oauth2/register/", metadata, content_type="application/json").json()
            assert created["registration_client_uri"] == f"{ISSUER}/register/{created['client_id']}/"

    def test_the_page_of_devices(self, make_bound: Callable[..., Site], user: User) -> None:
        site = make_bound()
        site.bound("phone")
        site.bound("tablet")
        browser = Client()
        browser.force_login(user)

        page = browser.get("/oauth2/devices/").content.decode()
        (action, _other) = re.findall(r'href="(/oauth2/devices/[^"]+/sign-out/)"', page)
        assert browser.post(action)["Location"] == "/oauth2/devices/"

    def test_the_pages_of_the_toolkit(self, make_site: Callable[..., Site], user: User) -> None:
        site = make_site(user=user)
        site.token()
        browser = Client()
        browser.force_login(user)
        application = f"/oauth2/applications/{site.application.pk}/"
        token = f"/oauth2/authorized_tokens/{site.application.accesstoken_set.get().pk}/"
        pages = [
            *("/oauth2/applications/", "/oauth2/applications/register/"),
            *(application, f"{application}update/", f"{application}delete/"),
            *("/oauth2/authorized_tokens/", f"{token}delete/"),
        ]

        assert {page: browser.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
        assert browser.post(f"{token}delete/")["Location"] == "/oauth2/authorized_tokens/"
        assert browser.post(f"{application}delete/")["Location"] == "/oauth2/applications/"

    def test_no_token_signs_in_on_the_pages(self, make_site: Callable[..., Site], user: User) -> None:
        token = make_site().token().access
        headers = {"Authorization": f"Bearer {token}"}
        middleware = [*settings.MIDDLEWARE, f"{__name__}.ReadingMiddleware"]
        with override_settings(MIDDLEWARE=middleware):
            for page in ("devices", "applications", "authorized_tokens", "device"):
                assert Client().get(f"/oauth2/{page}/", headers=headers).status_code == 302
            assert Client().get("/api/me/", headers=headers).status_code == 200

    def test_the_admin(self, make_site: Callable[..., Site], admin_client: Client) -> None:
        application = make_site().application
        page = admin_client.get(f"/admin/oauth2_provider/application/{application.pk}/change/")
        assert f'href="/oauth2/applications/{application.pk}/"' in page.content.decode()

    def test_the_checks(self) -> None:
        assert [each for each in run_checks() if "oauth" in str(each.id)] == []


#: Two endpoints, which the site calls as it likes.
SOME: list[Any] = [
    path("token", TokenView.as_view(), name="get-token"),
    path("introspect", IntrospectTokenView.as_view()),
]


@pytest.mark.parametrize("around", [path("auth/", include(SOME)), path("auth/", include((SOME, "auth")))])
def test_only_some_endpoints(make_bound: Callable[..., Site], around: Any) -> None:
    site = make_bound("jwt", additional_grant_types="token-exchange")
    with override_settings(ROOT_URLCONF=(around,)):
        answer = site.token(path="/auth/token", tokenBindingId="phone")
        assert answer.claims["iss"] == answer.claims["aud"] == "http://testserver"
        introspected = site.post("/auth/introspect", {"token": answer.access})
        assert (introspected["active"], introspected["iss"]) == (True, "http://testserver")
        assert [each for each in run_checks() if "oauth" in str(each.id)] == []

        with provider(OIDC_ISS_ENDPOINT="https://id.example"):
            assert site.token(path="/auth/token").claims["iss"] == "https://id.example"


@pytest.mark.parametrize("around", [include("oauth_binding.urls"), include((urlpatterns, "auth"))])
def test_a_site_with_languages_in_its_paths(around: Any) -> None:
    root = (*i18n_patterns(path("oauth2/", around)), *metadata_urlpatterns)
    with override_settings(ROOT_URLCONF=root):
        for language in ("en", "de"):
            issuer = f"http://testserver/{language}/oauth2"
            document = Client().get(f"/{language}/oauth2/.well-known/openid-configuration").json()
            assert (document["issuer"], document["token_endpoint"]) == (issuer, f"{issuer}/token/")
        assert {"oauth_binding.W018", "oauth_binding.E028"}.isdisjoint(each.id for each in run_checks())
