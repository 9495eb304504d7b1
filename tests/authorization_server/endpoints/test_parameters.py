"""Every parameter comes once, and means something at its own endpoint alone (RFC 6749, 3.1 and 3.2)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import oauth2_provider
import oauthlib
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from oauth2_provider.models import get_access_token_model, get_grant_model
from oauthlib.common import Request

from oauth_binding.authorization_server.toolkit.backend import SERVER_ATTRIBUTES, TOKEN_REQUEST_PARAMETERS
from tests.helpers.bad_input import TOKEN
from tests.helpers.client import REDIRECT_URI, SECRET, Answer, Site
from tests.helpers.exchange import ACCESS_TOKEN, GRANT_TYPE, allow

INTROSPECTION: Final = "/oauth2/introspect/"
REVOCATION: Final = "/oauth2/revoke_token/"
DEVICE: Final = "/oauth2/device-authorization/"
AUTHORIZATION: Final = "/oauth2/authorize/"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


def assert_is_repeated(answer: Answer, name: str) -> None:
    expected = {"error": "invalid_request", "error_description": f"{name} is repeated."}
    assert (answer.status, answer.data) == (400, expected)


class TestRepetition:
    """Whether a parameter comes with equal values, with an empty one, or is not known: it comes once."""

    @pytest.mark.parametrize("second", ["same", "other", "empty"])
    @pytest.mark.parametrize(
        "name",
        [
            "grant_type",
            "client_id",
            "client_secret",
            "code",
            "redirect_uri",
            "code_verifier",
            "scope",
            "unknown",
        ],
    )
    def test_at_the_token_endpoint(self, make_bound: Callable[..., Site], name: str, second: str) -> None:
        site = make_bound("jwt", "authorization_code")
        client = {"client_id": site.application.client_id, "client_secret": SECRET}
        form = {**dict(site.grant()), **client, "scope": "read", "unknown": "x"}
        value = {"same": form[name], "other": "other", "empty": ""}[second]

        for pairs in ([*form.items(), (name, value)], [(name, value), *form.items()]):
            assert_is_repeated(site.post(TOKEN, pairs, authenticate=False), name)

        assert site.post(TOKEN, form, authenticate=False).status == 200, "the code is as good as it was"

    @pytest.mark.parametrize("name", ["username", "password"])
    def test_of_a_user_and_a_password(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site()
        assert_is_repeated(site.post(TOKEN, [(name, "something else"), *site.grant()]), name)

    def test_of_a_refresh_token(self, make_site: Callable[..., Site]) -> None:
        site = make_site()
        refresh = site.token().refresh
        form = [("grant_type", "refresh_token"), ("refresh_token", refresh)]
        assert_is_repeated(site.post(TOKEN, [*form, ("refresh_token", refresh)]), "refresh_token")
        assert site.refresh(refresh).status == 200

    @pytest.mark.parametrize("name", ["grant_type", "device_code"])
    def test_of_a_device_code(self, make_bound: Callable[..., Site], name: str) -> None:
        site = make_bound(grant_type=DEVICE_GRANT)
        form = dict(site.grant())
        assert_is_repeated(site.post(TOKEN, [*form.items(), (name, form[name])]), name)
        assert site.post(TOKEN, form).status == 200

    @pytest.mark.parametrize("name", ["client_id", "client_assertion", "subject_token", "grant_type", "x"])
    def test_in_a_token_exchange(self, make_site: Callable[..., Site], name: str) -> None:
        backend = make_site("token-exchange")
        phone = make_site()
        allow(backend, phone)
        form = {
            "grant_type": GRANT_TYPE,
            "subject_token": phone.token().access,
            "subject_token_type": ACCESS_TOKEN,
        }
        value = form.get(name, "x")
        pairs = [(key, item) for key, item in form.items() if key != name]
        assert_is_repeated(backend.post(TOKEN, [*pairs, (name, value), (name, value)]), name)
        assert backend.post(TOKEN, form).status == 200

    def test_but_resources_are_many(self, make_site: Callable[..., Site]) -> None:
        """RFC 8707 section 2."""
        site = make_site()
        resources = ["https://a.example", "https://b.example"]
        answer = site.token(resource=resources)
        assert answer.status == 200
        assert site.introspect(answer.access)["aud"] == resources

    @pytest.mark.parametrize("authenticated", [True, False])
    @pytest.mark.parametrize(
        "name", ["token", "token_type_hint", "grant_type", "client_id", "encoding", "unknown"]
    )
    @pytest.mark.parametrize("path", [INTROSPECTION, REVOCATION])
    def test_at_introspection_and_revocation(
        self, make_site: Callable[..., Site], path: str, name: str, authenticated: bool
    ) -> None:
        site = make_site()
        token = site.token().access
        form = [("token", token)] if name != "token" else []
        pairs = [*form, (name, token), (name, token)]
        assert_is_repeated(site.post(path, pairs, authenticate=authenticated), name)
        assert site.active(token)

    @pytest.mark.parametrize(
        ("query", "form"), [("token=a&token=b", ""), ("token=a", "token=b"), ("", "token=a&token=b")]
    )
    def test_wherever_introspection_takes_it_from(
        self, make_site: Callable[..., Site], query: str, form: str
    ) -> None:
        assert_is_repeated(make_site().post(f"{INTROSPECTION}?{query}", form), "token")

    @pytest.mark.parametrize("name", ["client_id", "scope", "client_secret", "grant_type", "unknown"])
    def test_at_the_device_authorization_endpoint(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site(DEVICE_GRANT)
        form = [("client_id", site.application.client_id)] if name != "client_id" else []
        value = site.application.client_id if name == "client_id" else "read"
        assert_is_repeated(site.post(DEVICE, [*form, (name, value), (name, value)]), name)

    @pytest.mark.parametrize("name", ["a b", "é", "\x00", 'x"y', "n" * 65, ""])
    def test_a_name_that_an_error_can_not_have_is_not_said(
        self, make_site: Callable[..., Site], name: str
    ) -> None:
        """RFC 6749 section 5.2."""
        site = make_site()
        assert_is_repeated(site.post(TOKEN, [*site.grant(), (name, "1"), (name, "2")]), "A parameter")


def authorization_query(site: Site, **extra: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "state": "xyz",
        "nonce": "n",
        "prompt": "consent",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        **extra,
    }


def browser_of(user: User | None) -> Client:
    browser = Client()
    if user is not None:
        browser.force_login(user)
    return browser


class TestRepetitionAtTheAuthorizationEndpoint:
    """It is said on a page: nobody is sent anywhere."""

    @pytest.mark.parametrize("signed_in", [True, False])
    @pytest.mark.parametrize("value", ["same", "other"])
    @pytest.mark.parametrize(
        "name",
        [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "nonce",
            "prompt",
            "code_challenge",
            "code_challenge_method",
            "grant_type",
            "unknown",
        ],
    )
    def test_in_the_query(
        self, make_site: Callable[..., Site], user: User, name: str, value: str, signed_in: bool
    ) -> None:
        site = make_site("authorization_code", skip_authorization=True)
        query = authorization_query(site, grant_type="x", unknown="x")
        second = query[name] if value == "same" else "https://evil.example"
        browser = browser_of(user if signed_in else None)

        response = browser.get(f"{AUTHORIZATION}?{urlencode([*query.items(), (name, second)])}")

        assert response.status_code == 400
        assert f"{name} is repeated." in response.content.decode()
        assert "evil.example" not in response.content.decode()
        assert response["X-Frame-Options"]
        assert not get_grant_model().objects.exists()

    def test_in_the_form_of_the_page(self, make_site: Callable[..., Site], user: User) -> None:
        site = make_site("authorization_code")
        form = {**authorization_query(site), "allow": "Authorize"}
        pairs = [*form.items(), ("redirect_uri", "https://evil.example")]

        response = browser_of(user).post(
            AUTHORIZATION, urlencode(pairs), content_type="application/x-www-form-urlencoded"
        )

        assert response.status_code == 400
        assert "redirect_uri is repeated." in response.content.decode()
        assert not get_grant_model().objects.exists()

    def test_the_form_is_sent_to_the_address_of_the_page(
        self, make_site: Callable[..., Site], user: User
    ) -> None:
        site = make_site("authorization_code")
        query = authorization_query(site)
        browser = browser_of(user)
        response = browser.post(f"{AUTHORIZATION}?{urlencode(query)}", {**query, "allow": "Authorize"})
        assert "code" in parse_qs(urlsplit(response["Location"]).query)

    def test_but_resources_are_many(self, make_site: Callable[..., Site], user: User) -> None:
        site = make_site("authorization_code", skip_authorization=True)
        resources = ["https://a.example", "https://b.example"]
        query = [*authorization_query(site).items(), *(("resource", resource) for resource in resources)]
        response = browser_of(user).get(f"{AUTHORIZATION}?{urlencode(query)}")
        assert "code" in parse_qs(urlsplit(response["Location"]).query)
        assert get_grant_model().objects.get().resource == resources

    def test_a_site_that_requires_a_login_everywhere(self, make_site: Callable[..., Site]) -> None:
        """The page says where to sign in itself, with ``prompt=none`` for instance."""
        middleware = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        site = make_site("authorization_code")
        with override_settings(MIDDLEWARE=middleware):
            response = Client().get(AUTHORIZATION, authorization_query(site, prompt="none"))
        assert response["Location"].startswith(REDIRECT_URI)
        assert "login_required" in response["Location"]


class TestForeignParameters:
    """What belongs to the token endpoint has no effect at the authorization endpoint."""

    @pytest.mark.parametrize("in_form", [True, False])
    @pytest.mark.parametrize("name", sorted(TOKEN_REQUEST_PARAMETERS))
    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_the_token_of_the_implicit_grant_is_the_users(
        self, make_site: Callable[..., Site], user: User, token_type: str, name: str, in_form: bool
    ) -> None:
        site = make_site("implicit", token_type=token_type, skip_authorization=not in_form)
        query = authorization_query(site, response_type="token")
        values = {"grant_type": "client_credentials", "client_secret": SECRET}
        path = f"{AUTHORIZATION}?{urlencode({**query, name: values.get(name, 'forged')})}"
        browser = browser_of(user)

        response = browser.post(path, {**query, "allow": "Authorize"}) if in_form else browser.get(path)

        answer = parse_qs(urlsplit(response["Location"]).fragment)
        assert "refresh_token" not in answer
        row = get_access_token_model().objects.get()
        assert (row.user, row.scope) == (user, "read")
        data = site.introspect(answer["access_token"][0]).data
        assert (data["sub"], data["username"]) == (str(user.pk), "alice")

    @pytest.mark.parametrize("name", sorted(TOKEN_REQUEST_PARAMETERS))
    def test_a_code_is_what_it_would_be_without(
        self, make_site: Callable[..., Site], user: User, name: str
    ) -> None:
        site = make_site("authorization_code", skip_authorization=True)
        query = authorization_query(site, **{name: "forged"})
        response = browser_of(user).get(AUTHORIZATION, query)
        answer = parse_qs(urlsplit(response["Location"]).query)
        grant = get_grant_model().objects.get()
        assert answer["code"] == [grant.code] != ["forged"]
        assert grant.user == user


class TestServerAttributes:
    """oauthlib's Request answers with parameters for what it and django-oauth-toolkit do not keep on it."""

    @pytest.mark.parametrize("value", ["nope", "", "utf-16"])
    @pytest.mark.parametrize("name", sorted(SERVER_ATTRIBUTES))
    @pytest.mark.parametrize("path", [TOKEN, INTROSPECTION, REVOCATION])
    def test_a_parameter_of_that_name_has_no_effect(
        self, make_site: Callable[..., Site], path: str, name: str, value: str
    ) -> None:
        site = make_site()
        form = [*site.grant(), ("token", site.token().access), (name, value)]
        assert site.post(path, form).status == 200

    @pytest.mark.parametrize("name", sorted(SERVER_ATTRIBUTES))
    def test_nor_has_one_in_the_query(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site()
        token = site.token().access
        assert site.post(f"{INTROSPECTION}?{name}=nope", {"token": token})["active"]

    @pytest.mark.parametrize("name", sorted(SERVER_ATTRIBUTES))
    def test_nor_where_nobody_is_authenticated(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site()
        form = {"token": "x", name: "nope"}
        headers = {"Authorization": "Bearer x"}
        assert site.post(INTROSPECTION, form, authenticate=False, headers=headers).status == 401
        site.secret = "wrong"
        for path in (TOKEN, INTROSPECTION, REVOCATION):
            assert site.post(path, {**form, "grant_type": "client_credentials"}).status == 401

    def test_they_are_all_there_are(self) -> None:
        """A new one of oauthlib or django-oauth-toolkit is either a parameter or none."""
        own = {name for name in (*vars(Request("")), *dir(Request)) if not name.startswith("_")}
        assert {"uri", "body", "headers", "duplicate_params"} <= own
        assert own <= SERVER_ATTRIBUTES
        used = set(attributes_used()) | set(vars(Request(""))["_params"]) | own
        used.discard("callback")  # of oauthlib 3.3, for JSONP (RFC 7009 section 2.3), which is off
        assert used - PARAMETERS == SERVER_ATTRIBUTES
        assert not PARAMETERS & SERVER_ATTRIBUTES

    def test_those_of_the_token_endpoint_are_none_of_the_authorization_endpoint(self) -> None:
        assert not TOKEN_REQUEST_PARAMETERS & (SERVER_ATTRIBUTES | AUTHORIZATION_PARAMETERS)
        assert PARAMETERS - AUTHORIZATION_PARAMETERS <= TOKEN_REQUEST_PARAMETERS


#: RFC 6749, RFC 7636, RFC 8707, OpenID Connect Core 1.0 and Multiple Response Types.
AUTHORIZATION_PARAMETERS: Final = {
    "acr_values",
    "claims",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "display",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
}

#: All that oauthlib and django-oauth-toolkit take from a request.
PARAMETERS: Final = AUTHORIZATION_PARAMETERS | {
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "grant_type",
    "password",
    "refresh_token",
    "token",
    "token_type_hint",
    "username",
}


def attributes_used() -> Iterator[str]:
    """Yield what the server's code in oauthlib and django-oauth-toolkit names of oauthlib's Request."""
    library, toolkit = (Path(str(package.__file__)).parent for package in (oauthlib, oauth2_provider))
    oauthlibs = [
        path
        for folder in ("oauth2", "openid")
        for path in (library / folder).rglob("*.py")
        if "clients" not in path.parts
    ]
    for path in [*oauthlibs, *toolkit.rglob("*.py")]:
        # In django-oauth-toolkit it is Django's that is a request, but in the validator.
        is_validator = path.name == "oauth2_validators.py" or path in oauthlibs
        names = {"oauthlib_request", *(["request"] if is_validator else [])}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and is_named(node.value, names):
                yield node.attr
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                is_access = node.func.id in {"getattr", "setattr", "hasattr"}
                if is_access and is_named(node.args[0], names) and isinstance(node.args[1], ast.Constant):
                    yield str(node.args[1].value)


def is_named(node: Any, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names
