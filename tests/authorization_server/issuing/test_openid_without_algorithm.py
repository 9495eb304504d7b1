"""``openid`` for an application without a signing algorithm: refused where it is asked for, or left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_device_grant_model, get_grant_model

from tests.helpers.client import GRANTS, REDIRECT_URI, Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider

DEVICE = [*GRANTS][-1]

#: How authorization codes and device codes are requested and redeemed, which is where scopes are granted.
CODES = ("authorization_code", DEVICE)

RESPONSE_TYPES = {
    "authorization_code": ["code"],
    "implicit": ["token", "id_token", "id_token token"],
    "openid-hybrid": ["code token", "code id_token", "code id_token token"],
}


def assert_refused(answer: Answer) -> None:
    assert (answer.status, answer["error"]) == (400, "invalid_scope")
    assert answer["error_description"].startswith("openid: ")


def remove_algorithm(site: Site) -> None:
    site.application.algorithm = ""
    site.application.save()


def authorize(site: Site, method: str, response_type: str, **extra: str) -> Any:
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    query = {
        "response_type": response_type,
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "nonce": "n",
        "state": "xyz",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        **extra,
    }
    return getattr(browser, method)("/oauth2/authorize/", query)


def redirected(response: Any) -> dict[str, str]:
    address = urlsplit(response["Location"])
    return dict(parse_qsl(address.query) + parse_qsl(address.fragment))


@pytest.fixture(params=["opaque none", "opaque client-request", "jwt none", "jwt client-request"])
def options(request: pytest.FixtureRequest) -> dict[str, str]:
    token_type, binding = request.param.split()
    return {"token_type": token_type, "token_binding_type": binding}


@pytest.mark.parametrize("grant_type", ["password", "client_credentials"])
def test_the_token_endpoint_refuses_it(
    make_site: Callable[..., Site], options: dict[str, str], grant_type: str
) -> None:
    site = make_site(grant_type, algorithm="", **options)
    assert_refused(site.bound("phone", scope="openid read"))
    assert not get_access_token_model().objects.exists()
    assert site.bound("phone", scope="read")["scope"] == "read"


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("grant_type", "response_type"),
    [(grant, each) for grant, types in RESPONSE_TYPES.items() for each in types],
)
def test_the_authorization_endpoint_refuses_it_before_consent(
    make_site: Callable[..., Site], grant_type: str, response_type: str, method: str, skips: bool
) -> None:
    site = make_site(grant_type, algorithm="", skip_authorization=skips)
    consent = {"allow": "Authorize"} if method == "post" else {}
    response = authorize(site, method, response_type, scope="openid read", **consent)
    error = redirected(response)
    assert (error["error"], error["state"]) == ("invalid_scope", "xyz")
    assert error["error_description"].startswith("openid: ")
    assert not get_grant_model().objects.exists()
    assert not get_access_token_model().objects.exists()


def test_the_device_authorization_endpoint_refuses_it(make_site: Callable[..., Site]) -> None:
    site = make_site(DEVICE, algorithm="")
    form = {"client_id": site.application.client_id, "scope": "openid read"}
    assert_refused(site.post("/oauth2/device-authorization/", form))
    assert not get_device_grant_model().objects.exists()


def grant_by_default(site: Site) -> list[tuple[str, str]]:
    """Return the form of a token request where the client has asked for no scope."""
    kind = site.application.authorization_grant_type
    if kind == DEVICE:
        form = {"client_id": site.application.client_id}
        started = site.post("/oauth2/device-authorization/", form)
        site.accept_device(started["user_code"])
        return [("grant_type", kind), ("device_code", started["device_code"])]
    if kind == "authorization-code":
        page = authorize(site, "get", "code")
        shown = page.context["form"].initial["scope"]
        return [*site.authorization_code(scope=shown).items()]
    return site.grant()


@pytest.mark.parametrize("grant_type", GRANTS)
def test_by_default_it_is_left_out(
    make_site: Callable[..., Site], options: dict[str, str], grant_type: str
) -> None:
    site = make_site(grant_type, algorithm="", **options)
    with provider(DEFAULT_SCOPES=["openid", "read"]):
        answer = site.post("/oauth2/token/", [*grant_by_default(site), ("tokenBindingId", "phone")])
        assert (answer.status, answer["scope"]) == (200, "read")
        assert "id_token" not in answer.data
        if grant_type != "client_credentials":
            assert site.refresh(answer.refresh)["scope"] == "read"


@pytest.mark.parametrize("grant_type", CODES)
def test_a_code_that_was_granted_it_is_redeemed_without(
    make_site: Callable[..., Site], options: dict[str, str], grant_type: str
) -> None:
    site = make_site(grant_type, **options)
    form = site.grant(scope="openid read")
    remove_algorithm(site)
    answer = site.post("/oauth2/token/", [*form, ("tokenBindingId", "phone")])
    assert (answer.status, answer["scope"]) == (200, "read")
    assert "id_token" not in answer.data


@pytest.mark.parametrize("grant_type", CODES)
def test_a_code_for_it_alone_is_kept(make_site: Callable[..., Site], grant_type: str) -> None:
    site = make_site(grant_type)
    form = site.grant(scope="openid")
    remove_algorithm(site)
    refused = site.post("/oauth2/token/", form)
    assert (refused.status, refused["error"]) == (400, "invalid_scope")
    site.application.algorithm = "RS256"
    site.application.save()
    assert site.post("/oauth2/token/", form)["scope"] == "openid"


@pytest.mark.parametrize("grant_type", ["authorization_code", "password", DEVICE])
def test_a_refresh(make_site: Callable[..., Site], options: dict[str, str], grant_type: str) -> None:
    site = make_site(grant_type, **options)
    pair = site.bound("phone", scope="openid read")
    remove_algorithm(site)
    assert_refused(site.refresh(pair.refresh, scope="openid read"))
    refreshed = site.refresh(pair.refresh)
    assert (refreshed.status, refreshed["scope"]) == (200, "read")
    assert "id_token" not in refreshed.data


def test_an_exchange(make_site: Callable[..., Site], options: dict[str, str]) -> None:
    site = make_site(algorithm="", additional_grant_types="token-exchange", **options)
    phone = make_site()
    allow(site, phone)
    subject = phone.token(scope="openid read").access
    binding = {"tokenBindingId": "phone"}
    assert_refused(exchange(site, subject, scope="openid read", **binding))
    assert exchange(site, subject, **binding)["scope"] == "read"


@pytest.mark.parametrize("grant_type", GRANTS)
def test_without_openid_connect_it_is_a_scope_like_others(
    make_site: Callable[..., Site], options: dict[str, str], grant_type: str
) -> None:
    with provider(OIDC_ENABLED=False):
        site = make_site(grant_type, algorithm="", **options)
        answer = site.bound("phone", scope="openid read")
        assert (answer.status, answer["scope"]) == (200, "openid read")
        if grant_type != "client_credentials":
            assert site.refresh(answer.refresh)["scope"] == "openid read"


class TestWithoutTheServersKey:
    """RS256 is chosen, and the operator has set no ``OIDC_RSA_PRIVATE_KEY``."""

    @pytest.fixture
    def without_key(self) -> Any:
        return provider(OIDC_RSA_PRIVATE_KEY="")

    @pytest.mark.parametrize("binding_type", ["none", "client-request"])
    def test_a_code_is_kept(
        self, make_site: Callable[..., Site], without_key: Any, binding_type: str
    ) -> None:
        site = make_site("authorization_code", token_binding_type=binding_type)
        form = [*site.grant(scope="openid read"), ("tokenBindingId", "phone")]
        with without_key:
            refused = site.post("/oauth2/token/", form)
            assert (refused.status, refused["error"]) == (503, "server_error")
        assert "id_token" in site.post("/oauth2/token/", form).data

    @pytest.mark.parametrize("binding_type", ["none", "client-request"])
    def test_a_refresh_token_is_kept(
        self, make_site: Callable[..., Site], without_key: Any, binding_type: str
    ) -> None:
        site = make_site("authorization_code", token_binding_type=binding_type)
        pair = site.bound("phone", scope="openid read")
        with without_key:
            refused = site.refresh(pair.refresh)
            assert (refused.status, refused["error"]) == (503, "server_error")
        assert "id_token" in site.refresh(pair.refresh).data

    @pytest.mark.parametrize(
        ("grant_type", "response_type"),
        [("implicit", "id_token token"), ("openid-hybrid", "code id_token token")],
    )
    def test_the_authorization_endpoint_says_so(
        self, make_site: Callable[..., Site], without_key: Any, grant_type: str, response_type: str
    ) -> None:
        site = make_site(grant_type)
        with without_key:
            response = authorize(site, "post", response_type, scope="openid read", allow="Authorize")
        assert redirected(response)["error"] == "server_error"
        assert not get_grant_model().objects.exists()
        assert not get_access_token_model().objects.exists()
