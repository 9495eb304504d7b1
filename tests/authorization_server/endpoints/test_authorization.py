"""The authorization endpoint: whose consent counts, what is demanded, and what clients say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model

from tests.helpers.client import REDIRECT_URI, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider

#: A client with a Client ID Metadata Document, and what it may come back to.
CLIENT_ID = "https://app.example/client.json"


def ask(site: Site, scope: str = "read", **extra: Any) -> Any:
    """Send a user who is signed in to the authorization endpoint."""
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    return browser.get("/oauth2/authorize/", _request(site, scope, **extra))


def ask_without_a_login(site: Site, scope: str, **extra: Any) -> dict[str, list[str]]:
    """Send somebody who is not signed in there, and return what the client is answered."""
    response = Client().get("/oauth2/authorize/", _request(site, scope, **extra))
    return parse_qs(urlsplit(response["Location"]).query)


def _request(site: Site, scope: str, **extra: Any) -> dict[str, Any]:
    return {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "state": "xyz",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        "approval_prompt": "auto",
        **extra,
    }


def is_asked(site: Site, scope: str = "read", **extra: Any) -> bool:
    """Return whether the user is asked for consent; else there is a code."""
    response = ask(site, scope, **extra)
    if response.status_code == 200:
        assert b'name="allow"' in response.content
        return True
    assert "code" in parse_qs(urlsplit(response["Location"]).query), response["Location"]
    return False


class TestConsent:
    @pytest.fixture
    def site(self, make_site: Callable[..., Site]) -> Site:
        return make_site("authorization_code", additional_grant_types="token-exchange")

    def test_who_has_consented_is_not_asked_again(self, site: Site) -> None:
        assert is_asked(site)
        site.token(scope="read write")
        assert not is_asked(site)
        assert not is_asked(site, "write")
        assert is_asked(site, "openid read")

    @pytest.mark.parametrize("refreshes", [False, True])
    def test_what_a_client_has_exchanged_is_no_consent(
        self, make_site: Callable[..., Site], site: Site, refreshes: bool
    ) -> None:
        phone = make_site()
        allow(site, phone, refresh_tokens=True)
        exchanged = exchange(site, phone.token().access)
        assert exchanged.status == 200, exchanged.data
        if refreshes:
            assert site.refresh(exchanged.refresh).status == 200

        assert is_asked(site)
        assert is_asked(site, scope="read write")

    def test_what_is_exchanged_adds_nothing_to_a_consent(
        self, make_site: Callable[..., Site], site: Site
    ) -> None:
        phone = make_site()
        allow(site, phone)
        site.token(scope="read")
        exchange(site, phone.token(scope="read write").access, tokenBindingId="other")

        assert not is_asked(site, "read")
        assert is_asked(site, "read write")

    def test_a_consent_is_for_the_resources_that_were_asked_for(self, site: Site) -> None:
        one, two = "https://one.example/", "https://two.example/"
        site.post("/oauth2/token/", site.authorization_code(scope="read", resource=one))

        assert not is_asked(site, resource=one)
        assert is_asked(site, resource=two)
        assert is_asked(site, resource=[one, two])
        assert is_asked(site)
        site.token(scope="read")
        assert not is_asked(site, resource=two)
        assert not is_asked(site)

    def test_a_client_asks_silently_for_a_login(self, site: Site) -> None:
        refused = ask(site, "openid read", prompt="none")
        assert parse_qs(urlsplit(refused["Location"]).query)["error"] == ["consent_required"]

        site.token(scope="openid read")

        assert not is_asked(site, "openid read", prompt="none")

    def test_a_silent_request_without_a_login_is_answered(self, site: Site) -> None:
        query = ask_without_a_login(site, "openid read", prompt="none")

        assert query["error"] == ["login_required"]

    def test_another_user_has_not_consented(self, site: Site) -> None:
        site.token(scope="read")
        site.user = User.objects.create_user("bob")
        assert is_asked(site)

    def test_a_trusted_application_asks_nobody(self, site: Site) -> None:
        get_application_model().objects.update(skip_authorization=True)
        assert not is_asked(site)


DEMANDS = ("require_binding", "require_presented_binding")


class TestDemands:
    @pytest.mark.parametrize("demand", DEMANDS)
    @pytest.mark.parametrize(
        ("grant_type", "response_type"),
        [
            ("implicit", "token"),
            ("implicit", "id_token token"),
            ("openid-hybrid", "code token"),
            ("openid-hybrid", "code id_token token"),
        ],
    )
    def test_who_demands_a_binding_gets_no_token_here(
        self, make_bound: Callable[..., Site], grant_type: str, response_type: str, demand: str
    ) -> None:
        site = make_bound(grant_type=grant_type, **{demand: "yes"})

        response = ask(site, "openid read", response_type=response_type, nonce="n")

        assert "error=unauthorized_client" in response["Location"]
        assert not get_access_token_model().objects.exists()

    @pytest.mark.parametrize("demand", DEMANDS)
    def test_a_code_and_an_id_token_are_to_be_had(self, make_bound: Callable[..., Site], demand: str) -> None:
        site = make_bound(grant_type="openid-hybrid", **{demand: "yes"})
        assert ask(site, "openid read", response_type="code id_token", nonce="n").status_code == 200

    def test_nothing_is_demanded_without_binding(self, make_site: Callable[..., Site]) -> None:
        site = make_site("implicit", require_binding="yes")
        assert ask(site, response_type="token").status_code == 200


#: What leads to each error redirect: of what kind the client is, what differs in the request, what the user
#: does with the page, and the error.
ERRORS: Final[dict[str, tuple[str, dict[str, str], str, str]]] = {
    "before consent": ("authorization_code", {"scope": "nope"}, "signed in", "invalid_scope"),
    "no such response type": (
        "authorization_code",
        {"response_type": "nope"},
        "signed in",
        "unsupported_response_type",
    ),
    "another's response type": (
        "authorization_code",
        {"response_type": "token"},
        "signed in",
        "unauthorized_client",
    ),
    "too long": ("authorization_code", {"nonce": "x" * 256}, "signed in", "invalid_request"),
    "a resource": ("authorization_code", {"resource": "nope"}, "signed in", "invalid_target"),
    "a resource of no form": ("authorization_code", {"resource": "https://["}, "signed in", "invalid_target"),
    "denied": ("authorization_code", {}, "denies", "access_denied"),
    "after consent": ("authorization_code", {"resource": "nope"}, "allows", "invalid_target"),
    "after consent, a resource of no form": (
        "authorization_code",
        {"resource": "https://["},
        "allows",
        "invalid_target",
    ),
    "after consent, a scope": ("authorization_code", {"scope": "nope"}, "allows", "invalid_scope"),
    "in silence, signed out": ("authorization_code", {"prompt": "none"}, "signed out", "login_required"),
    "in silence, an error": (
        "authorization_code",
        {"prompt": "none", "scope": "nope"},
        "signed out",
        "invalid_scope",
    ),
    "in silence, no consent": ("authorization_code", {"prompt": "none"}, "signed in", "consent_required"),
    "implicit": ("implicit", {"response_type": "token", "scope": "nope"}, "signed in", "invalid_scope"),
    "implicit, denied": ("implicit", {"response_type": "token"}, "denies", "access_denied"),
    "implicit, in silence": (
        "implicit",
        {"response_type": "token", "prompt": "none"},
        "signed out",
        "login_required",
    ),
    "hybrid": (
        "openid-hybrid",
        {"response_type": "code id_token", "scope": "openid nope", "nonce": "n"},
        "signed in",
        "invalid_scope",
    ),
}


class TestErrorRedirects:
    @pytest.mark.parametrize("names_issuer", [True, False])
    @pytest.mark.parametrize("redirect_uri", [REDIRECT_URI, f"{REDIRECT_URI}?error=a&iss=b"])
    @pytest.mark.parametrize("case", ERRORS)
    def test_each_names_the_issuer(
        self, make_site: Callable[..., Site], case: str, redirect_uri: str, names_issuer: bool
    ) -> None:
        """RFC 9207 section 2; they are where the tokens would be (RFC 6749 section 4.2.2.1)."""
        kind, extra, what_user_does, error = ERRORS[case]
        application = make_site(kind, redirect_uris=redirect_uri).application
        browser = Client()
        if what_user_does != "signed out":
            assert make_site().user is not None
            browser.force_login(User.objects.get())
        query = {
            "response_type": "code",
            "client_id": application.client_id,
            "redirect_uri": redirect_uri,
            "scope": "read",
            "state": "x&error=y",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            **extra,
        }

        with provider(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=names_issuer):
            if what_user_does in {"allows", "denies"}:
                allow = {"allow": "Authorize"} if what_user_does == "allows" else {}
                response = browser.post("/oauth2/authorize/", {**query, **allow})
            else:
                response = browser.get("/oauth2/authorize/", query)

        assert response.status_code == 302
        address = urlsplit(response["Location"])
        is_fragment = not {"token", "id_token"}.isdisjoint(query["response_type"].split())
        answer = parse_qs(address.fragment if is_fragment else address.query)
        assert answer["error"][-1] == error
        assert answer["state"] == ["x&error=y"]
        named = [*parse_qs(address.query).get("iss", []), *parse_qs(address.fragment).get("iss", [])]
        own = ["b"] if "?" in redirect_uri else []
        assert named == (["http://testserver/oauth2"] if names_issuer else own)
        assert is_fragment is bool(address.fragment)

    def test_who_has_consented_is_answered_in_silence(self, make_site: Callable[..., Site]) -> None:
        site = make_site("authorization_code")
        site.token(scope="read")

        assert not is_asked(site, prompt="none")


class Documents:
    """The metadata documents of the web, as a site's own ``CIMD_METADATA_FETCHER`` would get them."""

    published: ClassVar[dict[str, Any]] = {}

    def fetch(self, client_id: str) -> tuple[dict[str, Any], int]:
        return self.published, 0


class TestMetadataDocuments:
    @pytest.fixture(autouse=True)
    def _documents(self) -> None:
        cache.clear()
        Documents.published = {
            "client_id": CLIENT_ID,
            "client_name": "App",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "none",
        }

    def test_a_redirect_uri_that_is_withdrawn_is_not_used_any_more(self, user: User) -> None:
        with provider(CIMD_ENABLED=True, CIMD_METADATA_FETCHER=Documents, CIMD_METADATA_MIN_AGE_SECONDS=0):
            site = Site(get_application_model()(client_id=CLIENT_ID), user)
            assert ask(site).status_code == 200
            Documents.published["redirect_uris"] = ["https://app.example/elsewhere"]

            assert ask(site).status_code == 400
            assert ask(site, redirect_uri="https://app.example/elsewhere").status_code == 200


def test_a_consent_page_of_the_site_may_have_check_boxes(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code")
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    query = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        "allow": "Authorize",
    }

    agreed = browser.post("/oauth2/authorize/", {**query, "agreed_to": ["terms", "privacy"]})
    twice = browser.post("/oauth2/authorize/", {**query, "scope": ["read", "read write"]})

    assert "code=" in agreed["Location"]
    assert twice.status_code == 400


def test_a_state_that_ends_in_what_is_not_escaped_comes_back(make_site: Callable[..., Site]) -> None:
    """As base64 does; only a parameter without a value counts as omitted."""
    site = make_site("authorization_code")
    browser = Client()
    assert site.user is not None
    browser.force_login(site.user)
    site.application.skip_authorization = True
    site.application.save()
    query = urlencode({**_request(site, "read"), "nonce": ""}).replace("state=xyz", "state=eHl6eg==")

    answer = browser.get(f"/oauth2/authorize/?{query}")

    assert parse_qs(urlsplit(answer["Location"]).query)["state"] == ["eHl6eg=="]
