"""RFC 9700, points that no other part of the suite shows: the authorization endpoint, how tokens travel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.test import Client, override_settings
from oauth2_provider.models import get_application_model

from tests.helpers.client import REDIRECT_URI, Site
from tests.helpers.provider import provider

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

AUTHORIZE = "/oauth2/authorize/"


def request(site: Site, **extra: str | None) -> dict[str, str]:
    """Return an authorization request, but for what is extra; None takes a parameter out."""
    form = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "state": "xyz",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **extra,
    }
    return {name: value for name, value in form.items() if value is not None}


def signed_in(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def ask(site: Site, **extra: str | None) -> Any:
    """Open the page on which a user consents."""
    assert site.user is not None
    return signed_in(site.user).get(f"{AUTHORIZE}?{urlencode(request(site, **extra))}")


def consent(site: Site, **extra: str | None) -> Any:
    assert site.user is not None
    return signed_in(site.user).post(AUTHORIZE, request(site, allow="Authorize", **extra))


def deploy_checks() -> set[str]:
    return {str(message.id) for message in run_checks(include_deployment_checks=True)}


# Sections 2.1 and 4.1: redirect URIs

OTHER_SPELLINGS = [
    "https://CLIENT.example/callback",
    "HTTPS://client.example/callback",
    "https://client.example:/callback",
    "https://client.example:443/callback",
    "https://client.exa\tmple/callback",
    "https://client.example/call\tback",
    "https://client.example/callback/",
    "https://client.example/callback?",
    "https://client.example/callback?next=x",
    "https://client.example/callback#",
    "https://client.example/callback;x",
    "https://client.example/x/../callback",
    "https://client.example/%63allback",
    "https://user@client.example/callback",
    "https://client.example\\@evil.example/callback",
    "https://client.example.evil.example/callback",
    "http://client.example/callback",
    "//client.example/callback",
    "https://client.example:99999/callback",
    "https://client.example:x/callback",
    "https://[client.example/callback",
]


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
def test_a_redirect_uri_is_compared_letter_by_letter(make_site: Callable[..., Site], spelling: str) -> None:
    site = make_site("authorization_code")

    for response in (ask(site, redirect_uri=spelling), consent(site, redirect_uri=spelling)):
        assert (response.status_code, response.headers.get("Location")) == (400, None)

    assert ask(site).status_code == 200


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\x1f"])
def test_white_space_around_a_redirect_uri_is_a_part_of_it(
    make_site: Callable[..., Site], space: str
) -> None:
    site = make_site("authorization_code")

    for uri in (space + REDIRECT_URI, REDIRECT_URI + space):
        assert ask(site, redirect_uri=uri).status_code == 400


@pytest.mark.parametrize("registered", ["http://127.0.0.1/cb", "http://[::1]:8000/cb?x=1"])
def test_the_port_of_the_loopback_interface_is_any(make_site: Callable[..., Site], registered: str) -> None:
    site = make_site("authorization_code", client_type="public", redirect_uris=registered)
    host = "[::1]" if "[" in registered else "127.0.0.1"
    uri = f"http://{host}:51004{registered[registered.index('/cb') :]}"

    assert consent(site, redirect_uri=uri)["Location"].startswith(f"{uri}{'&' if '?' in uri else '?'}code=")
    for other in (uri + "/", uri.replace("http:", "https:"), uri.replace(host, "localhost")):
        assert consent(site, redirect_uri=other).status_code == 400


def test_the_loopback_exception_is_not_for_the_name_localhost(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code", client_type="public", redirect_uris="http://localhost/cb")

    assert consent(site, redirect_uri="http://localhost:51004/cb").status_code == 400
    with provider(ALLOW_LOCALHOST_LOOPBACK=True):
        assert consent(site, redirect_uri="http://localhost:51004/cb").status_code == 302


def test_wildcards_are_for_sites_that_want_them(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code", redirect_uris="https://*.client.example/callback")

    assert consent(site, redirect_uri="https://a.client.example/callback").status_code == 400
    with provider(ALLOW_URI_WILDCARDS=True):
        assert consent(site, redirect_uri="https://a.client.example/callback").status_code == 302
        assert consent(site, redirect_uri="https://client.example.evil.example/callback").status_code == 400
        assert "oauth2_provider.W009" in deploy_checks()


def test_a_code_is_redeemed_with_the_redirect_uri_it_was_sent_to(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code", redirect_uris=f"https://client.example/other {REDIRECT_URI}")
    form = site.authorization_code()

    for other in ("https://client.example/other", f"{REDIRECT_URI}/", ""):
        assert site.post("/oauth2/token/", {**form, "redirect_uri": other}).status == 400

    assert site.post("/oauth2/token/", form).status == 200


@pytest.mark.parametrize("entries", [{}, {"COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True}], ids=str)
def test_redirect_uris_without_tls_are_named_by_the_deployment_checks(
    db: None, entries: dict[str, bool]
) -> None:
    with provider(ALLOWED_REDIRECT_URI_SCHEMES=["http", "https"], **entries):
        assert deploy_checks() & {"oauth2_provider.W008", "oauth2_provider.E003"}
    with provider(ALLOWED_REDIRECT_URI_SCHEMES=["https"], **entries):
        assert not deploy_checks() & {"oauth2_provider.W008", "oauth2_provider.E003"}


# Sections 2.1 and 4.11: open redirectors

ELSEWHERE = "https://evil.example/callback"

REFUSED = {
    "a page": {},
    "a scope that there is not": {"scope": "nonsense"},
    "a resource that is no URI": {"resource": "nonsense"},
    "a response type that there is not": {"response_type": "nonsense"},
    "no challenge": {"code_challenge": None},
    "prompt=none": {"prompt": "none"},
}


@pytest.mark.parametrize("extra", REFUSED.values(), ids=REFUSED)
def test_nobody_is_sent_to_a_redirect_uri_that_is_not_registered(
    make_site: Callable[..., Site], extra: dict[str, str | None]
) -> None:
    site = make_site("authorization_code")
    address = f"{AUTHORIZE}?{urlencode(request(site, redirect_uri=ELSEWHERE, **extra))}"

    assert ask(site, redirect_uri=ELSEWHERE, **extra).status_code == 400
    # Who is not signed in is sent to the page of the site for that, if anywhere.
    location = Client().get(address).headers.get("Location", "/accounts/login/")
    assert location.startswith("/accounts/login/")


@pytest.mark.parametrize("prompt", [None, "login", "create", "create login"])
@pytest.mark.parametrize("extra", REFUSED.values(), ids=REFUSED)
def test_who_is_not_signed_in_is_sent_to_no_client(
    make_site: Callable[..., Site], extra: dict[str, str | None], prompt: str | None
) -> None:
    form = request(make_site("authorization_code"), **{"prompt": prompt, **extra})

    with provider(OIDC_RP_INITIATED_REGISTRATION_ENABLED=True, OIDC_RP_INITIATED_REGISTRATION_URL="login"):
        location = Client().get(f"{AUTHORIZE}?{urlencode(form)}").headers.get("Location", "")

    # prompt=none is the exception: silent authentication.
    assert location.startswith(REDIRECT_URI) is (form.get("prompt") == "none")


DECIDED: dict[str, dict[str, str | None]] = {
    "yes": {"allow": "Authorize"},
    "no": {},
    "a resource that is no URI": {"allow": "Authorize", "resource": "nonsense"},
    "a scope that there is not": {"allow": "Authorize", "scope": "nonsense"},
}


@pytest.mark.parametrize("extra", DECIDED.values(), ids=DECIDED)
def test_a_form_does_not_change_where_the_answer_goes(
    make_site: Callable[..., Site], user: User, extra: dict[str, str | None]
) -> None:
    site = make_site("authorization_code")
    browser = signed_in(user)

    for elsewhere in (ELSEWHERE, "javascript:alert(1)", "https://client.example/callback/"):
        response = browser.post(AUTHORIZE, request(site, redirect_uri=elsewhere, **extra))
        assert (response.status_code, response.headers.get("Location")) == (400, None)

    assert browser.post(AUTHORIZE, request(site, **extra))["Location"].startswith(REDIRECT_URI)


# Section 4.4: the issuer in responses


@pytest.mark.parametrize("extra", DECIDED.values(), ids=DECIDED)
@pytest.mark.parametrize("registered", [REDIRECT_URI, f"{REDIRECT_URI}?iss=https%3A%2F%2Fevil.example"])
def test_an_authorization_response_names_the_issuer(
    make_site: Callable[..., Site], user: User, extra: dict[str, str | None], registered: str
) -> None:
    site = make_site("authorization_code", redirect_uris=registered)
    browser = signed_in(user)
    form = request(site, redirect_uri=registered, **extra)

    assert "testserver" not in browser.post(AUTHORIZE, form)["Location"]
    with provider(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=True):
        metadata = Client().get("/oauth2/.well-known/oauth-authorization-server").json()
        responses = [browser.post(AUTHORIZE, form)]
        if "scope" in extra:
            responses.append(browser.get(f"{AUTHORIZE}?{urlencode(form)}"))
        silent = {**form, "scope": "read", "prompt": "none"}
        responses.append(Client().get(f"{AUTHORIZE}?{urlencode(silent)}"))

    assert metadata["authorization_response_iss_parameter_supported"] is True
    for response in responses:
        parameters = parse_qs(urlsplit(response["Location"]).query)
        assert parameters["iss"] == [metadata["issuer"]]
        assert parameters["state"] == ["xyz"]
        assert len({"code", "error"} & parameters.keys()) == 1


# Sections 2.1.1 and 4.5 to 4.8: PKCE


def test_the_metadata_says_that_there_is_pkce(db: None) -> None:
    paths = ("/oauth2/.well-known/oauth-authorization-server", "/oauth2/.well-known/openid-configuration")

    for path in paths:
        assert "S256" in Client().get(path).json()["code_challenge_methods_supported"]
        with provider(COMPLIANT_BCP_RFC9700_PKCE_METHOD=True):
            assert Client().get(path).json()["code_challenge_methods_supported"] == ["S256"]


def test_a_request_without_a_challenge_is_refused(make_site: Callable[..., Site]) -> None:
    for client_type in ("public", "confidential"):
        site = make_site("authorization_code", client_type=client_type)
        for response in (ask(site, code_challenge=None), consent(site, code_challenge=None)):
            assert parse_qs(urlsplit(response["Location"]).query)["error"] == ["invalid_request"]


def test_a_site_can_refuse_the_plain_method(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code")
    plain = {"code_challenge_method": "plain", "code_challenge": "v" * 43}

    assert "code=" in consent(site, **plain)["Location"]
    with provider(COMPLIANT_BCP_RFC9700_PKCE_METHOD=True):
        assert "code=" not in consent(site, **plain)["Location"]


@pytest.mark.parametrize("verifier", [None, "", "w" * 43, CHALLENGE])
def test_a_code_with_a_challenge_needs_its_verifier(
    make_site: Callable[..., Site], verifier: str | None
) -> None:
    site = make_site("authorization_code")
    form = site.authorization_code()
    wrong = {**form, "code_verifier": verifier}

    answer = site.post("/oauth2/token/", {name: value for name, value in wrong.items() if value is not None})

    assert answer.status == 400
    assert site.post("/oauth2/token/", form).status == 200


def test_a_code_is_for_the_client_it_was_issued_to(make_site: Callable[..., Site]) -> None:
    site, other = make_site("authorization_code"), make_site("authorization_code")
    form = site.authorization_code()

    assert other.post("/oauth2/token/", form)["error"] == "invalid_grant"
    assert site.post("/oauth2/token/", form).status == 200


# Sections 2.1.2 and 2.4: grants that are not to be used


def test_a_site_can_refuse_the_implicit_and_the_password_grant(make_site: Callable[..., Site]) -> None:
    implicit, password = make_site("implicit"), make_site("password")
    token = {"response_type": "token", "code_challenge": None, "code_challenge_method": None}

    assert "#access_token=" in consent(implicit, **token)["Location"]
    assert password.token().status == 200
    with provider(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=True, COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=True):
        assert "access_token" not in consent(implicit, **token).headers.get("Location", "")
        assert password.token().status == 400


# Sections 4.2, 4.12 and 4.16: the pages


@pytest.mark.parametrize("scope", ["read", "nonsense"])
def test_the_page_of_consent_has_nothing_of_other_sites(make_site: Callable[..., Site], scope: str) -> None:
    site = make_site("authorization_code")
    response = ask(site, scope=scope, redirect_uri=REDIRECT_URI if scope == "read" else ELSEWHERE)

    text = response.content.decode()
    assert "<h" in text
    assert "<script" not in text
    assert "//" not in text.replace("https://client.example", "")
    assert response["Referrer-Policy"] == "same-origin"


def test_redirects_are_never_307(make_site: Callable[..., Site]) -> None:
    """The authorization endpoint has no credentials in its body; the page to sign in is the site's."""
    site = make_site("authorization_code")

    assert consent(site).status_code == 302
    assert Client().get(f"{AUTHORIZE}?{urlencode(request(site))}").status_code == 302


#: Where users look at something and decide, on pages of this app and of django-oauth-toolkit.
PAGES = [AUTHORIZE, "/oauth2/device/", "/oauth2/devices/", "/oauth2/authorized_tokens/", "/oauth2/logout/"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("has_middleware", [True, False])
def test_no_page_is_shown_in_a_frame(
    make_site: Callable[..., Site], user: User, path: str, has_middleware: bool
) -> None:
    query = urlencode(request(make_site("authorization_code"))) if path == AUTHORIZE else ""
    of_frames = "django.middleware.clickjacking.XFrameOptionsMiddleware"
    middleware = [name for name in settings.MIDDLEWARE if has_middleware or name != of_frames]

    with override_settings(MIDDLEWARE=middleware), provider(OIDC_RP_INITIATED_LOGOUT_ENABLED=True):
        response = signed_in(user).get(f"{path}?{query}")

    assert (response.status_code, response["X-Frame-Options"]) == (200, "DENY")


def test_a_site_chooses_who_may_frame(make_site: Callable[..., Site]) -> None:
    with override_settings(X_FRAME_OPTIONS="SAMEORIGIN"):
        assert ask(make_site("authorization_code"))["X-Frame-Options"] == "SAMEORIGIN"


def test_the_authorization_endpoint_has_no_cors(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code", allowed_origins="https://client.example")
    assert site.user is not None
    browser = signed_in(site.user)
    origin = {"Origin": "https://client.example", "Access-Control-Request-Method": "GET"}
    address = f"{AUTHORIZE}?{urlencode(request(site))}"

    for response in (browser.get(address, headers=origin), browser.options(address, headers=origin)):
        assert [name for name in response.headers if name.startswith("Access-Control-")] == []


def test_answers_with_tokens_are_not_stored(make_site: Callable[..., Site]) -> None:
    site = make_site("password")
    answer = site.token()

    for headers in (answer.headers, site.refresh(answer.refresh).headers, site.introspect("x").headers):
        assert "no-store" in headers["Cache-Control"]


# Section 4.3.2: tokens in addresses


@pytest.mark.parametrize("path", ["/oauth2/userinfo/", "/oauth2/introspect/", "/api/me/"])
def test_a_site_can_refuse_tokens_in_the_query_string(make_site: Callable[..., Site], path: str) -> None:
    token = make_site("authorization_code").token(scope="openid read introspection").access
    header = {"Authorization": f"Bearer {token}"}
    query = urlencode({"access_token": token, "token": token})

    # Introspection takes none there, whatever the site says.
    refused = 400 if "introspect" in path else 401
    with provider(COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT=True):
        assert Client().get(f"{path}?{query}").status_code == refused
        assert Client().post(f"{path}?{query}", {"token": token}).status_code == refused
        assert Client().get(f"{path}?token={token}", headers=header).status_code == 200


# Section 4.14: refresh tokens


@pytest.mark.parametrize("client_type", ["public", "confidential"])
def test_a_refresh_token_is_rotated_and_for_its_client_alone(
    make_site: Callable[..., Site], client_type: str
) -> None:
    site, other = make_site(client_type=client_type), make_site(client_type=client_type)
    first = site.token()

    assert other.refresh(first.refresh)["error"] == "invalid_grant"
    second = site.refresh(first.refresh)
    assert second.refresh != first.refresh
    assert site.refresh(first.refresh)["error"] == "invalid_grant"
    assert site.refresh(second.refresh).status == 200


# Section 2.6


def test_there_is_metadata_that_agrees_with_what_tokens_say(make_site: Callable[..., Site]) -> None:
    site = make_site("authorization_code", token_type="jwt")
    answer = site.token(scope="openid read")
    documents = [
        Client().get(f"/oauth2/.well-known/{name}").json()
        for name in ("oauth-authorization-server", "openid-configuration")
    ]

    for name in ("issuer", "jwks_uri", "token_endpoint", "authorization_endpoint"):
        assert len({document[name] for document in documents}) == 1
    assert answer.claims["iss"] == documents[0]["issuer"]
    assert json.loads(Client().get(documents[0]["jwks_uri"]).content)["keys"]


# Section 4.15: clients and users


def test_who_registers_a_client_does_not_choose_its_id(user: User) -> None:
    wanted = str(user.pk)
    metadata = {
        "client_id": wanted,
        "sub": wanted,
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code"],
    }
    with provider(DCR_ENABLED=True):
        created = signed_in(user).post("/oauth2/register/", metadata, content_type="application/json")
        answer = created.json()
        updated = Client().put(
            urlsplit(answer["registration_client_uri"]).path,
            metadata,
            content_type="application/json",
            headers={"Authorization": f"Bearer {answer['registration_access_token']}"},
        )

    assert created.status_code == 201
    assert len(answer["client_id"]) >= 32
    assert updated.json().get("client_id", answer["client_id"]) == answer["client_id"]
    assert not get_application_model().objects.filter(client_id=wanted).exists()
