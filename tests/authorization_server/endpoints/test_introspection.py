"""The introspection (RFC 7662) and revocation (RFC 7009) endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client, override_settings

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.client import SECRET, Site
from tests.helpers.rows import access_token_row, expire

ISSUER = "http://testserver/oauth2"
TOKEN_TYPES = ("opaque", "jwt")


@pytest.mark.parametrize("binding", [None, "phone"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_an_active_access_token(
    make_bound: Callable[..., Site], token_type: str, binding: str | None
) -> None:
    site = make_bound(token_type)
    token = site.bound(binding, scope="read")
    assert site.user is not None
    now = time.time()

    answer = site.introspect(token.access)

    assert "no-store" in answer.headers["Cache-Control"]
    data = answer.data
    assert abs(data.pop("iat") - now) < 60
    assert abs(data.pop("exp") - now - 3600) < 60
    expected = {
        "active": True,
        "scope": "read",
        "client_id": site.application.client_id,
        "username": "alice",
        "sub": str(site.user.pk),
        "token_type": "Bearer",
        "iss": ISSUER,
    }
    if binding is not None:
        expected |= {"binding_type": "client-request", "binding_ref": binding_reference(binding)}
    if token_type == "jwt":
        expected |= {"jti": token.claims["jti"]}
    assert data == expected


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_token_of_the_client_itself(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type, "client_credentials")
    data = site.introspect(site.bound("phone").access).data
    assert data["sub"] == data["client_id"] == site.application.client_id
    assert "username" not in data


@pytest.mark.parametrize("binding", [None, "phone"])
def test_a_refresh_token_says_that_it_is_one(make_bound: Callable[..., Site], binding: str | None) -> None:
    site = make_bound()
    pair = site.bound(binding, scope="read")
    data = site.introspect(pair.refresh).data
    assert site.user is not None
    assert data.pop("iat")
    expected = {
        "active": True,
        "scope": "read",
        "client_id": site.application.client_id,
        "username": "alice",
        "sub": str(site.user.pk),
        "token_type": "refresh_token",
        "iss": ISSUER,
    }
    if binding is not None:
        expected |= {"binding_type": "client-request", "binding_ref": binding_reference(binding)}
    assert data == expected


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("why", ["expired", "revoked", "superseded", "refreshed", "unknown"])
def test_an_inactive_token_says_nothing_else(
    make_bound: Callable[..., Site], token_type: str, why: str
) -> None:
    site = make_bound(token_type)
    pair = site.bound("phone")
    tokens = [pair.access]
    if why == "expired":
        expire(pair.access)
    elif why == "revoked":
        site.revoke(pair.access)
        tokens.append(pair.refresh)
    elif why == "superseded":
        expire(pair.access)
        site.bound("phone")
        tokens.append(pair.refresh)
    elif why == "refreshed":
        site.refresh(pair.refresh)
        tokens.append(pair.refresh)
    else:
        tokens = ["unknown", pair.access + "x", "\x00", "é", "ey.ey.ey", "x" * 100_000]
    for token in tokens:
        answer = site.introspect(token)
        assert (answer.status, answer.data) == (200, {"active": False})


def test_a_client_authenticates_with_basic_or_in_the_body(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.token().access
    assert site.post("/oauth2/introspect/", {"token": token})["active"]
    credentials = {"client_id": site.application.client_id, "client_secret": SECRET}
    answer = site.post("/oauth2/introspect/", {"token": token, **credentials}, authenticate=False)
    assert answer["active"]


def test_a_bearer_token_with_the_introspection_scope_will_do(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt", "client_credentials")
    token = site.bound("phone").access
    for token_type in TOKEN_TYPES:
        resource_server = make_bound(token_type, "client_credentials")
        bearer = resource_server.token(scope="introspection").access
        headers = {"Authorization": f"Bearer {bearer}"}
        answer = site.post("/oauth2/introspect/", {"token": token}, authenticate=False, headers=headers)
        assert answer["active"]
        too_little = resource_server.token(scope="read").access
        headers = {"Authorization": f"Bearer {too_little}"}
        answer = site.post("/oauth2/introspect/", {"token": token}, authenticate=False, headers=headers)
        assert answer.status == 403
        assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("credentials", ["none", "wrong secret", "unknown client", "unknown bearer", "junk"])
def test_who_is_not_authenticated_learns_nothing(make_bound: Callable[..., Site], credentials: str) -> None:
    site = make_bound()
    token = site.token().access
    headers = {"unknown bearer": "Bearer x", "junk": "Basic %%%"}.get(credentials)
    if credentials == "wrong secret":
        site.secret = "wrong"
    elif credentials == "unknown client":
        site.application.client_id = "nobody"
    answer = site.post(
        "/oauth2/introspect/",
        {"token": token},
        authenticate=credentials in {"wrong secret", "unknown client"},
        headers={"Authorization": headers} if headers else None,
    )
    assert answer.status == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert "active" not in answer.data


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token_type_hint": "access_token"}])
def test_no_token_parameter_is_an_invalid_request(
    make_bound: Callable[..., Site], form: dict[str, str]
) -> None:
    answer = make_bound().post("/oauth2/introspect/", form)
    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "token" in answer["error_description"]


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "something_else"])
@pytest.mark.parametrize("which", ["access", "refresh"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_revoking_one_devices_token_leaves_the_others(
    make_bound: Callable[..., Site], token_type: str, which: str, hint: str | None
) -> None:
    site = make_bound(token_type)
    phone, laptop, shared = site.bound("phone"), site.bound("laptop"), site.bound(None)

    extra = {} if hint is None else {"token_type_hint": hint}
    assert site.revoke(getattr(phone, which), **extra).status == 200

    assert not site.active(phone.access)
    assert not site.active(phone.refresh)
    assert site.refresh(phone.refresh).status == 400
    for other in (laptop, shared):
        assert site.active(other.access)
        assert site.refresh(other.refresh).status == 200
    again = site.bound("phone")
    assert again.access != phone.access
    assert site.active(again.access)


def test_a_client_can_not_revoke_anothers_token(make_bound: Callable[..., Site]) -> None:
    site, other = make_bound(), make_bound()
    token = site.bound("phone").access
    assert other.revoke(token).status == 200
    assert site.active(token)


def test_revocation_wants_a_token_and_a_client(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.token().access
    answer = site.post("/oauth2/revoke_token/", {})
    assert (answer.status, answer["error"]) == (400, "invalid_request")
    site.secret = "wrong"
    assert site.revoke(token).status == 401
    site.secret = SECRET
    assert site.active(token)


@pytest.mark.parametrize("slash", ["", "/"])
def test_endpoints_answer_with_and_without_the_trailing_slash(
    make_bound: Callable[..., Site], slash: str
) -> None:
    site = make_bound()
    token = site.token(path=f"/oauth2/token{slash}", tokenBindingId="phone")
    assert token.status == 200
    for path in ("revoke", "revoke_token"):
        assert site.post(f"/oauth2/introspect{slash}", {"token": token.access})["active"]
        assert site.post(f"/oauth2/{path}{slash}", {"token": token.access}).status == 200
        assert not site.active(token.access)
        token = site.bound("phone")


@pytest.mark.parametrize(
    ("issued", "now"), [("jwt", "opaque"), ("opaque", "jwt")], ids=["jwt, now opaque", "opaque, now jwt"]
)
def test_a_token_is_described_as_it_was_issued(
    make_bound: Callable[..., Site], issued: str, now: str
) -> None:
    site = make_bound(issued)
    token = site.bound("phone").access
    before = site.introspect(token).data
    site.application.token_type, site.application.token_binding_type = now, "none"
    site.application.save()
    assert site.introspect(token).data == before


def test_a_session_does_not_introspect(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.token().access
    browser = Client()
    assert site.user is not None
    browser.force_login(site.user)
    assert browser.post("/oauth2/introspect/", {"token": token}).status_code == 401


def test_a_token_whose_binding_row_is_gone_is_not_an_error(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    answer = site.bound("phone")
    row = access_token_row(answer.access)
    row.binding.delete()
    assert not site.active(answer.access)
    assert site.bound("phone").status == 200


def test_a_site_that_requires_a_login_everywhere(make_bound: Callable[..., Site]) -> None:
    """The OAuth endpoints are exempt from LoginRequiredMiddleware, as django-oauth-toolkit's are."""
    middleware = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    with override_settings(MIDDLEWARE=middleware):
        site = make_bound("jwt")
        token = site.bound("phone").access
        assert site.introspect(token)["active"]
        assert site.revoke(token).status == 200
        for path in ("jwks.json", "oauth-authorization-server"):
            assert Client().get(f"/oauth2/.well-known/{path}").status_code == 200


def test_a_refresh_token_is_active_only_for_its_own_client(make_bound: Callable[..., Site]) -> None:
    """A resource server that asks with credentials of its own must not take it for an access token."""
    site, resource_server = make_bound(), make_bound(grant_type="client_credentials")
    pair = site.bound("phone")
    assert resource_server.active(pair.access)
    assert not resource_server.active(pair.refresh)
    bearer = resource_server.token(scope="introspection").access
    headers = {"Authorization": f"Bearer {bearer}"}
    answer = site.post("/oauth2/introspect/", {"token": pair.refresh}, authenticate=False, headers=headers)
    assert answer.data == {"active": False}
    assert site.active(pair.refresh)
