"""What is too long or too much to be stored is refused by name, on every database alike; nothing is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import CharField
from django.test import Client
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.authorization_server.issuing import limits
from oauth_binding.models import CodeContext
from tests.helpers.client import GRANTS, REDIRECT_URI, Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider

DEVICE: Final = [*GRANTS][-1]

#: Columns of what requests save that are as long as the server makes what it puts there.
OWN_VALUES: Final = {
    "access_token",
    "binding_confirmation",
    "code",
    "confirmation",
    "device_code",
    "digest",
    "jti",
    "slot",
    "status",
    "token_checksum",
    "token_seed",
    "user_code",
}


def too_long(name: str, limit: int) -> str:
    """Return a value that only its length is wrong with, where that is possible."""
    if name == "scope":
        return "read " * (limit // 5) + "write"
    if name in {"resource", "audience"}:
        return "https://api.example/".ljust(limit + 1, "a")
    return "c" * (limit + 1)


def too_many() -> list[str]:
    return [f"https://api.example/{number}" for number in range(limits.MAX_TARGETS + 1)]


def assert_refused(answer: Answer, name: str, what: str = "characters") -> None:
    assert (answer.status, answer["error"]) == (400, "invalid_request"), answer.data
    assert answer["error_description"].startswith(f"{name} has more than "), answer.data
    assert answer["error_description"].endswith(f" {what}.")


def assert_nothing_saved() -> None:
    for model in (
        get_grant_model(),
        get_device_grant_model(),
        get_access_token_model(),
        get_id_token_model(),
        CodeContext,
    ):
        assert not model.objects.exists(), model


def test_every_column_with_a_limit_has_that_limit() -> None:
    columns = {
        (model, column.name): column.max_length
        for model in (
            get_grant_model(),
            get_device_grant_model(),
            get_id_token_model(),
            get_access_token_model(),
            get_refresh_token_model(),
            CodeContext,
        )
        for column in model._meta.get_fields()
        if isinstance(column, CharField) and column.name not in OWN_VALUES
    }
    assert {name for _model, name in columns} == {
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
    }
    for (model, name), length in columns.items():
        table = limits.DEVICE_AUTHORIZATION if model is get_device_grant_model() else limits.AUTHORIZATION
        assert table[name] == length, (model, name)


class TestTheAuthorizationEndpoint:
    VALUES: Final = {
        **{name: too_long(name, limit) for name, limit in limits.AUTHORIZATION.items() if name != "audience"},
        # One that oauthlib knows is shorter, and it refuses all others.
        "code_challenge_method": "S256" * 3,
    }

    def request(self, site: Site, method: str, query: dict[str, Any], **extra: Any) -> Any:
        assert site.user is not None
        browser = Client()
        browser.force_login(site.user)
        form = {
            "response_type": "code",
            "client_id": site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid read",
            "state": "xyz",
            "nonce": "n",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            **query,
        }
        if method == "get":
            return browser.get("/oauth2/authorize/", form)
        return browser.post("/oauth2/authorize/", {**form, "allow": "Authorize", **extra})

    @pytest.mark.parametrize("grant_type", ["authorization_code", "openid-hybrid"])
    @pytest.mark.parametrize("skips", [False, True])
    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("name", VALUES)
    def test_what_is_too_long(
        self, make_site: Callable[..., Site], name: str, method: str, skips: bool, grant_type: str
    ) -> None:
        site = make_site(grant_type, skip_authorization=skips)
        is_hybrid = grant_type == "openid-hybrid"
        kind = {"response_type": "code id_token"} if is_hybrid else {}
        response = self.request(site, method, {**kind, name: self.VALUES[name]})
        error = self.redirected(response)
        assert (error["error"], error["state"]) == ("invalid_request", "xyz")
        assert error["error_description"].startswith(f"{name} has more than {limits.AUTHORIZATION[name]} ")
        assert_nothing_saved()

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_too_many_resources(self, make_site: Callable[..., Site], method: str) -> None:
        site = make_site("authorization_code")
        resources = too_many() if method == "get" else " ".join(too_many())
        error = self.redirected(self.request(site, method, {"resource": resources}))
        assert error["error_description"] == "resource has more than 20 values."
        assert_nothing_saved()

    @pytest.mark.parametrize("skips", [False, True])
    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("name", ["nonce", "code_challenge", "resource", "scope", "redirect_uri"])
    def test_a_nul(self, make_site: Callable[..., Site], name: str, method: str, skips: bool) -> None:
        """PostgreSQL refuses it."""
        site = make_site("authorization_code", skip_authorization=skips)
        response = self.request(site, method, {name: "https://api.example/\x00"})
        assert response.status_code < 500
        assert_nothing_saved()

    def test_what_the_form_lacks_and_the_address_has(self, make_site: Callable[..., Site]) -> None:
        """oauthlib takes it from there."""
        site = make_site("authorization_code")
        assert site.user is not None
        browser = Client()
        browser.force_login(site.user)
        form = {
            "response_type": "code",
            "client_id": site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "read",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "allow": "Authorize",
        }
        response = browser.post(f"/oauth2/authorize/?nonce={'n' * 256}", form)
        assert self.redirected(response)["error"] == "invalid_request"
        assert_nothing_saved()

    def test_nobody_is_sent_to_an_address_that_is_not_registered(
        self, make_site: Callable[..., Site]
    ) -> None:
        site = make_site("authorization_code")
        for query in ({"redirect_uri": "https://evil.example/"}, {"client_id": "unknown"}):
            for method in ("get", "post"):
                response = self.request(site, method, {"nonce": "n" * 256, **query})
                assert response.status_code == 400, (query, method)

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_what_just_fits(self, make_site: Callable[..., Site], token_type: str) -> None:
        site = make_site("authorization_code", token_type=token_type)
        resources = [f"https://api.example/{number}" for number in range(limits.MAX_TARGETS)]
        form = site.authorization_code(
            scope="openid read", nonce="\N{MOBILE PHONE}" * 255, resource=" ".join(resources)
        )
        answer = site.post("/oauth2/token/", form)
        assert answer.status == 200
        assert site.introspect(answer.access)["aud"] == resources

    @staticmethod
    def redirected(response: Any) -> dict[str, str]:
        assert response.status_code == 302, response.content
        address = urlsplit(response["Location"])
        assert address.netloc == "client.example"
        return dict(parse_qsl(address.query) + parse_qsl(address.fragment))


class TestTheTokenEndpoint:
    @pytest.mark.parametrize("name", limits.TOKEN)
    @pytest.mark.parametrize("grant_type", GRANTS)
    def test_what_is_too_long(self, make_site: Callable[..., Site], grant_type: str, name: str) -> None:
        site = make_site(grant_type)
        form = site.grant()
        tokens = get_access_token_model().objects
        extra = (name, too_long(name, limits.TOKEN[name]))
        assert_refused(site.post("/oauth2/token/", [*form, extra]), name)
        assert not tokens.exists()
        assert site.post("/oauth2/token/", form).status == 200, "nothing was redeemed"

    @pytest.mark.parametrize("name", ["resource", "audience"])
    @pytest.mark.parametrize("grant_type", GRANTS)
    def test_too_many(self, make_site: Callable[..., Site], grant_type: str, name: str) -> None:
        site = make_site(grant_type)
        form = site.grant()
        extra = [(name, value) for value in too_many()]
        assert_refused(site.post("/oauth2/token/", [*form, *extra]), name, "values")
        assert site.post("/oauth2/token/", form).status == 200, "nothing was redeemed"

    @pytest.mark.parametrize("name", limits.TOKEN)
    def test_a_refresh(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site()
        pair = site.token()
        value = too_long(name, limits.TOKEN[name])
        assert_refused(site.refresh(pair.refresh, **{name: value}), name)
        assert site.refresh(pair.refresh).status == 200

    @pytest.mark.parametrize("name", limits.TOKEN)
    def test_an_exchange(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site(additional_grant_types="token-exchange")
        phone = make_site()
        allow(site, phone)
        subject = phone.token().access
        assert_refused(exchange(site, subject, **{name: too_long(name, limits.TOKEN[name])}), name)
        if name != "scope":
            assert_refused(exchange(site, subject, **{name: too_many()}), name, "values")


class TestTheDeviceAuthorizationEndpoint:
    PATH: Final = "/oauth2/device-authorization/"

    @pytest.mark.parametrize("name", limits.DEVICE_AUTHORIZATION)
    def test_what_is_too_long(self, make_site: Callable[..., Site], name: str) -> None:
        site = make_site(DEVICE, client_id="c" * 101 if name == "client_id" else "device")
        form = {"client_id": site.application.client_id, "scope": "read"}
        if name != "client_id":
            form[name] = too_long(name, limits.DEVICE_AUTHORIZATION[name])
        assert_refused(site.post(self.PATH, form), name)
        assert_nothing_saved()

    def test_what_just_fits(self, make_site: Callable[..., Site]) -> None:
        site = make_site(DEVICE, client_id="c" * 100)
        assert site.token().status == 200

    def test_an_unknown_scope_is_refused_at_once(self, make_site: Callable[..., Site]) -> None:
        """Also with oauthlib 3.3."""
        site = make_site(DEVICE)
        form = {"client_id": site.application.client_id, "scope": "read unknown"}
        answer = site.post(self.PATH, form)
        assert (answer.status, answer["error"]) == (400, "invalid_scope")
        assert_nothing_saved()

    def test_the_query_string_names_no_client(self, make_site: Callable[..., Site]) -> None:
        site = make_site(DEVICE)
        answer = site.post(f"{self.PATH}?client_id={site.application.client_id}", {"scope": "read"})
        assert (answer.status, answer["error"]) == (400, "invalid_request")
        assert_nothing_saved()


@pytest.mark.parametrize("name", ["token", "token_type_hint", "client_id", "client_secret"])
@pytest.mark.parametrize("path", ["/oauth2/introspect/", "/oauth2/revoke_token/"])
def test_introspection_and_revocation_store_nothing_that_is_sent(
    make_site: Callable[..., Site], path: str, name: str
) -> None:
    site = make_site()
    token = site.token().access
    is_credential = name.startswith("client")
    form = {"token": token, "client_id": site.application.client_id, "client_secret": site.secret}
    answer = site.post(path, {**form, name: "x" * 5_000}, authenticate=False)
    assert answer.status in ({401, 403} if is_credential else {200, 400})
    assert site.active(token) is (path == "/oauth2/introspect/" or name != "token_type_hint")


class Documents:
    """The metadata documents of the web, as a site's own ``CIMD_METADATA_FETCHER`` would get them."""

    def fetch(self, client_id: str) -> tuple[dict[str, Any], int]:
        return {
            "client_id": client_id,
            "client_name": "App",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "none",
        }, 0


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400)])
def test_the_address_of_a_metadata_document(user: User, length: int, status: int) -> None:
    cache.clear()
    client_id = "https://app.example/".ljust(length, "c")
    site = Site(get_application_model()(client_id=client_id), user)
    with provider(CIMD_ENABLED=True, CIMD_METADATA_FETCHER=Documents):
        response = TestTheAuthorizationEndpoint().request(site, "get", {"scope": "read"})
    assert response.status_code == status
    assert get_application_model().objects.exists() is (status == 200)
