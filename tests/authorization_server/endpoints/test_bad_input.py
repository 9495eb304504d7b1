"""Bad input gets a precise OAuth error, never a server error, and loses nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.helpers.bad_input import JUNK, TOKEN, assert_answered, encoded
from tests.helpers.client import GRANTS, REDIRECT_URI, Site
from tests.helpers.provider import provider

ENDPOINTS = (TOKEN, "/oauth2/introspect/", "/oauth2/revoke_token/")

PARAMETERS = {
    "password": ["grant_type", "username", "password", "scope", "tokenBindingId", "resource"],
    "client_credentials": ["grant_type", "scope", "tokenBindingId", "resource"],
    "authorization_code": [
        "grant_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "tokenBindingId",
        "resource",
    ],
    "urn:ietf:params:oauth:grant-type:device_code": [
        "grant_type",
        "device_code",
        "tokenBindingId",
        "resource",
    ],
}


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("grant_type", GRANTS)
def test_junk_in_any_parameter_of_a_token_request(
    make_bound: Callable[..., Site], grant_type: str, token_type: str, kind: str
) -> None:
    site = make_bound(token_type, grant_type)
    for name in PARAMETERS[grant_type]:
        form = [(key, value) for key, value in site.grant() if key != name]
        assert_answered(site.post(TOKEN, f"{urlencode(form)}&{encoded(name, kind)}"))


@pytest.mark.parametrize("kind", JUNK)
def test_junk_in_a_refresh_request(make_bound: Callable[..., Site], kind: str) -> None:
    site = make_bound("jwt")
    pair = site.bound("phone", resource="https://a.example")
    for name in ("grant_type", "refresh_token", "scope", "tokenBindingId", "resource"):
        form = {"grant_type": "refresh_token", "refresh_token": pair.refresh}
        form.pop(name, None)
        answer = site.post(TOKEN, f"{urlencode(form)}&{encoded(name, kind)}")
        assert_answered(answer)
        if answer.status == 200:
            pair = answer
    assert site.refresh(pair.refresh).status == 200


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("path", ["/oauth2/introspect/", "/oauth2/revoke_token/"])
def test_junk_in_introspection_and_revocation(make_bound: Callable[..., Site], path: str, kind: str) -> None:
    site = make_bound()
    token = site.token().access
    for name in ("token", "token_type_hint"):
        form = {"token": token}
        form.pop(name, None)
        answer = site.post(path, f"{urlencode(form)}&{encoded(name, kind)}")
        assert answer.status in {200, 400}
        token = site.token().access


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_junk_in_client_credentials(make_bound: Callable[..., Site], path: str, kind: str) -> None:
    site = make_bound()
    token = site.token().access
    form = urlencode({"token": token, "grant_type": "password", "username": "a", "password": "b"})
    for name, other in (("client_id", "client_secret=x"), ("client_secret", "client_id=x")):
        answer = site.post(path, f"{form}&{encoded(name, kind)}&{other}", authenticate=False)
        assert answer.status in {400, 401}
    junk = base64.b64encode(JUNK[kind].encode() + b":x").decode()
    for header in (
        f"Basic {junk}",
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 10_001,
        "Digest x",
        "Bearer",
        "Bearer a b",
    ):
        answer = site.post(path, form, authenticate=False, headers={"Authorization": header})
        assert answer.status in {400, 401}
    assert site.active(token)


@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_missing_parameter_is_named(make_bound: Callable[..., Site], grant_type: str) -> None:
    site = make_bound(grant_type=grant_type)
    required = [name for name, _value in site.grant() if name not in {"scope", "redirect_uri"}]
    for name in required:
        form = [(key, value) for key, value in site.grant() if key != name]
        answer = site.post(TOKEN, form)
        assert_answered(answer)
        assert answer.status == 400
        if name == "grant_type":
            assert answer["error"] == "unsupported_grant_type"
        else:
            expected = (
                {"invalid_request", "invalid_grant"} if name == "code_verifier" else {"invalid_request"}
            )
            assert answer["error"] in expected
            assert name.replace("_", " ") in answer["error_description"].replace("_", " ").lower()


@pytest.mark.parametrize("name", ["refresh_token_instance", "client", "user", "scopes", "extra_credentials"])
@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("grant_type", GRANTS)
def test_parameters_do_not_reach_the_servers_own_attributes(
    make_site: Callable[..., Site], grant_type: str, binding_type: str, name: str
) -> None:
    site = make_site(grant_type, token_binding_type=binding_type)
    answer = site.token(**{name: "forged"})
    assert answer.status == 200
    assert "forged" not in str(answer.data)


@pytest.mark.parametrize(
    "name", ["token_plan", "presented_binding_value", "code_is_consumed", "unsigned_id_token", "decoded_body"]
)
def test_parameters_do_not_reach_ours(make_bound: Callable[..., Site], name: str) -> None:
    site = make_bound("opaque", "authorization_code")
    form = [*site.grant(), (name, "forged"), ("tokenBindingId", "phone")]
    first = site.post(TOKEN, form)
    assert first.status == 200
    assert "binding_ref" in site.introspect(first.access).data
    # The code was redeemed.
    assert site.post(TOKEN, form)["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "query", ["?a=b", "?%zz", "?=", "?tokenBindingId=%zz", "?grant_type=password", "?\u20ac"]
)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_query_strings(make_bound: Callable[..., Site], path: str, query: str) -> None:
    site = make_bound()
    token = site.token().access
    answer = site.post(path + query, [*site.grant(), ("token", token)])
    assert answer.status in ({200, 400} if "introspect" in path else {400})
    assert site.active(token)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"grant_type": "password"}'),
        ("application/json", "{"),
        ("text/plain", "grant_type=password"),
        ("multipart/form-data; boundary=x", "--x\r\nbroken"),
        ("multipart/form-data", "no boundary"),
        ("application/x-www-form-urlencoded; charset=utf-7", "grant_type=password"),
        ("application/x-www-form-urlencoded; charset=nonsense", "grant_type=password"),
        ("", ""),
        ("nonsense", b"\x00\xff"),
    ],
)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_content_types(
    make_bound: Callable[..., Site], path: str, content_type: str, body: str | bytes
) -> None:
    site = make_bound()
    response = Client().generic("POST", path, body, content_type, headers=site.basic())
    assert response.status_code in {400, 401, 415}


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head"])
@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/revoke", *ENDPOINTS])
def test_methods(make_bound: Callable[..., Site], path: str, method: str) -> None:
    site = make_bound()
    response = getattr(Client(), method)(path, headers=site.basic())
    expected = {400} if "introspect" in path and method in {"get", "head"} else {405}
    assert response.status_code in expected


@pytest.mark.parametrize("path", ["/oauth2/introspect/", "/oauth2/revoke_token/"])
def test_other_endpoints_do_not_care_for_bindings(make_bound: Callable[..., Site], path: str) -> None:
    site = make_bound(require_binding="yes")
    form = {"token": "unknown", "grant_type": "password", "tokenBindingId": "x" * 256}
    assert site.post(path, form).status == 200


def test_too_many_fields(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    answer = site.post(TOKEN, [*site.grant(), *((f"field{n}", "") for n in range(2000))])
    assert answer.status == 400


def test_a_body_that_is_too_large(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    assert site.token(tokenBindingId="x" * 3_000_000).status in {400, 413}


@pytest.mark.parametrize("kind", JUNK)
def test_junk_at_the_device_authorization_endpoint(make_bound: Callable[..., Site], kind: str) -> None:
    site = make_bound(grant_type="urn:ietf:params:oauth:grant-type:device_code")
    for name in ("client_id", "scope"):
        form = {"client_id": site.application.client_id, "scope": "read"}
        del form[name]
        body = f"{urlencode(form)}&{encoded(name, kind)}"
        assert site.post("/oauth2/device-authorization/", body).status in {200, 400, 401}


def test_a_device_code_is_redeemed_by_its_own_client_only(make_bound: Callable[..., Site]) -> None:
    kind = "urn:ietf:params:oauth:grant-type:device_code"
    site, other = make_bound(grant_type=kind), make_bound(grant_type=kind)
    form = site.grant()
    answer = other.post(TOKEN, form)
    assert (answer.status, answer["error"]) == (400, "invalid_grant")
    assert site.post(TOKEN, form).status == 200


def test_an_expired_device_code_is_refused(make_bound: Callable[..., Site]) -> None:
    from django.utils import timezone
    from oauth2_provider.models import get_device_grant_model

    site = make_bound(grant_type="urn:ietf:params:oauth:grant-type:device_code")
    form = site.grant()
    get_device_grant_model().objects.update(expires=timezone.now())
    answer = site.post(TOKEN, form)
    assert (answer.status, answer["error"]) == (400, "expired_token")


def test_an_authorization_code_is_redeemed_once(make_bound: Callable[..., Site]) -> None:
    for token_type in ("opaque", "jwt"):
        site = make_bound(token_type, "authorization_code")
        form = [*site.grant(), ("tokenBindingId", "phone")]
        first = site.post(TOKEN, form)
        again = site.post(TOKEN, form)
        assert (again.status, again["error"]) == (400, "invalid_grant")
        assert not site.active(first.access), "whoever has sent it twice may have stolen it once"


@pytest.mark.parametrize("verifier", ["é" * 43, "x", "\x00" * 43])
@pytest.mark.parametrize("method", ["plain", "S256"])
def test_a_wrong_code_verifier_does_not_consume_the_code(
    make_bound: Callable[..., Site], method: str, verifier: str
) -> None:
    site = make_bound("jwt", "authorization_code")
    with provider(PKCE_REQUIRED=True):
        extra = {"code_challenge": "y" * 43, "code_challenge_method": method} if method == "plain" else {}
        form = site.authorization_code(**extra)
        if method == "plain":
            form["code_verifier"] = "y" * 43
        refused = site.post(TOKEN, {**form, "code_verifier": verifier})
        assert_answered(refused)
        assert refused.status == 400
        assert site.post(TOKEN, form).status == 200


@pytest.mark.parametrize("grant_type", ["refresh_token", "client_credentials", "password"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_grant_type_at_the_authorization_endpoint_means_nothing(
    make_bound: Callable[..., Site], token_type: str, grant_type: str
) -> None:
    site = make_bound(token_type, "implicit", skip_authorization=True)
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    query = {
        "response_type": "token",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "grant_type": grant_type,
        "refresh_token_instance": "x",
    }

    answer = browser.get("/oauth2/authorize/", query)

    assert answer.status_code == 302
    assert "access_token=" in answer["Location"]


def authorization_request(site: Site, **extra: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "state": "xyz",
        "code_challenge": "y" * 43,
        "code_challenge_method": "S256",
        **extra,
    }


@pytest.mark.parametrize("query", ["%zz", "a=%zz", "a=1&%zz=1"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_query_string_that_can_not_be_decoded(
    make_bound: Callable[..., Site], method: str, query: str
) -> None:
    site = make_bound(grant_type="authorization_code")
    token = site.post(TOKEN, site.grant(scope="openid read")).access
    browser = Client()
    browser.force_login(User.objects.get())
    address = f"/oauth2/authorize/?{urlencode(authorization_request(site))}&{query}"

    page = getattr(browser, method)(
        address, {**authorization_request(site), "allow": "1"} if method == "post" else None
    )
    userinfo = getattr(Client(), method)(
        f"/oauth2/userinfo/?{query}", headers={"Authorization": f"Bearer {token}"}
    )

    assert page.status_code == 400
    assert b"invalid_request" in page.content
    assert (userinfo.status_code, userinfo.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("resource", ["https://[", "https://api.example https://]["])
@pytest.mark.parametrize("consents", [False, True])
def test_a_resource_that_can_not_be_parsed(
    make_bound: Callable[..., Site], consents: bool, resource: str
) -> None:
    site = make_bound(grant_type="authorization_code")
    browser = Client()
    browser.force_login(User.objects.get())
    asked = authorization_request(site, resource=resource)

    if consents:
        answer = browser.post("/oauth2/authorize/", {**asked, "allow": "1"})
    else:
        answer = browser.get("/oauth2/authorize/", asked)

    told = dict(parse_qsl(urlsplit(answer["Location"]).query))
    assert answer["Location"].startswith(REDIRECT_URI)
    assert (told["error"], told["state"]) == ("invalid_target", "xyz")
