"""The introspection (RFC 7662) and revocation (RFC 7009) endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import Client, override_settings

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.client import SECRET, Answer, Site
from tests.helpers.rows import access_token_row, expire

ISSUER = "http://testserver/oauth2"
TOKEN_TYPES = ("opaque", "jwt")
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

#: Secrets that are none.
BLANK: Final = ("", "  ")


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
        expected |= {"jti": token.claims["jti"], "aud": ISSUER}
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
    assert answer["error"] == ("invalid_token" if credentials == "unknown bearer" else "invalid_client")
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


class TestWhoIsAnswered:
    """Confidential clients with a secret, and access tokens with the scope: nobody else (RFC 7662, 2.1)."""

    @pytest.fixture
    def token(self, make_bound: Callable[..., Site]) -> str:
        return make_bound().token().access

    def assert_refused(self, answer: Answer) -> None:
        assert answer.status == 401
        assert "active" not in answer.data

    @pytest.mark.parametrize(
        "credentials", ["id", "id and blank", "id and secret", "Basic", "Basic and blank"]
    )
    @pytest.mark.parametrize("grant_type", [None, DEVICE_GRANT, "client_credentials"])
    @pytest.mark.parametrize("secret", ["", SECRET])
    @pytest.mark.parametrize("hashed", [True, False])
    def test_a_public_client_is_not(
        self,
        make_site: Callable[..., Site],
        token: str,
        secret: str,
        hashed: bool,
        grant_type: str | None,
        credentials: str,
    ) -> None:
        """It is who it says it is, for all one knows."""
        site = make_site(DEVICE_GRANT, client_type="public", client_secret=secret, hash_client_secret=hashed)
        site.secret = "" if credentials == "Basic and blank" else SECRET
        form = {"token": token}
        if grant_type is not None:
            form["grant_type"] = grant_type
        is_basic = credentials.startswith("Basic")
        if not is_basic:
            form["client_id"] = site.application.client_id
        if credentials in {"id and blank", "id and secret"}:
            form["client_secret"] = "" if credentials == "id and blank" else SECRET

        self.assert_refused(site.post("/oauth2/introspect/", form, authenticate=is_basic))

    @pytest.mark.parametrize("provided", [None, *BLANK])
    @pytest.mark.parametrize("basic", [True, False])
    @pytest.mark.parametrize("hashed", [True, False])
    @pytest.mark.parametrize("stored", BLANK)
    def test_a_blank_secret_is_none(
        self,
        make_site: Callable[..., Site],
        token: str,
        stored: str,
        hashed: bool,
        basic: bool,
        provided: str | None,
    ) -> None:
        site = make_site(client_secret=stored, hash_client_secret=hashed)
        for kind in (None, DEVICE_GRANT):
            form = {"token": token} if kind is None else {"token": token, "grant_type": kind}
            self.assert_refused(with_secret(site, "/oauth2/introspect/", form, provided, basic=basic))

    def test_an_id_token_is_not(self, make_site: Callable[..., Site], token: str) -> None:
        """It tells its client who has signed in, and is no credential."""
        answer = make_site("authorization_code").token(scope="openid introspection")
        for text, status in ((answer.access, 200), (answer["id_token"], 401)):
            headers = {"Authorization": f"Bearer {text}"}
            asked = make_site().post(
                "/oauth2/introspect/", {"token": token}, authenticate=False, headers=headers
            )
            assert asked.status == status
        assert 'error="invalid_token"' in asked.headers["WWW-Authenticate"]
        assert "ID token" in asked.headers["WWW-Authenticate"]

    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize("authenticated", [True, False])
    @pytest.mark.parametrize("name", ["client_secret", "client_assertion", "access_token"])
    def test_no_credential_is_in_the_query(
        self, make_site: Callable[..., Site], token: str, name: str, authenticated: bool, method: str
    ) -> None:
        """RFC 6749 section 2.3.1: it would be in logs and histories."""
        site = make_site()
        query = {"client_id": site.application.client_id, name: SECRET, "token": token}
        path = f"/oauth2/introspect/?{urlencode(query)}"
        response = getattr(Client(), method)(path, headers=site.basic() if authenticated else {})
        assert response.status_code == 400
        assert response.json() == {
            "error": "invalid_request",
            "error_description": f"{name} must be in the body, not in the query string.",
        }

    def test_the_token_may_be(self, make_site: Callable[..., Site], token: str) -> None:
        response = Client().get("/oauth2/introspect/", {"token": token}, headers=make_site().basic())
        assert response.json()["active"]


class TestBlankSecrets:
    """No confidential client is authenticated by one, at any endpoint, whatever is stored."""

    @pytest.mark.parametrize("provided", [None, *BLANK])
    @pytest.mark.parametrize("basic", [True, False])
    @pytest.mark.parametrize("hashed", [True, False])
    @pytest.mark.parametrize("stored", BLANK)
    def test_of_confidential_clients(
        self,
        make_site: Callable[..., Site],
        stored: str,
        hashed: bool,
        basic: bool,
        provided: str | None,
    ) -> None:
        site = make_site(client_secret=SECRET, additional_grant_types="client-credentials " + DEVICE_GRANT)
        pair, device_code = site.token(), site.device_code()
        site.application.client_secret, site.application.hash_client_secret = stored, hashed
        site.application.save()
        for path, form in (
            ("/oauth2/token/", dict(site.grant())),
            ("/oauth2/token/", {"grant_type": "client_credentials"}),
            ("/oauth2/token/", {"grant_type": "refresh_token", "refresh_token": pair.refresh}),
            ("/oauth2/token/", {"grant_type": DEVICE_GRANT, "device_code": device_code}),
            ("/oauth2/revoke_token/", {"token": pair.access}),
            ("/oauth2/revoke_token/", {"token": pair.access, "grant_type": DEVICE_GRANT}),
            ("/oauth2/device-authorization/", {"scope": "read", "client_id": site.application.client_id}),
        ):
            answer = with_secret(site, path, form, provided, basic=basic)
            assert (answer.status, answer["error"]) == (401, "invalid_client"), path
        assert make_site().active(pair.access)

    @pytest.mark.parametrize("secret", ["", SECRET])
    @pytest.mark.parametrize("how", ["id", "id and blank", "Basic"])
    def test_public_clients_name_themselves_with_it(
        self, make_site: Callable[..., Site], how: str, secret: str
    ) -> None:
        """RFC 6749 section 2.3.1, and RFC 7009 section 2.1 for their own tokens."""
        site = make_site(
            "authorization_code", client_type="public", client_secret=secret, hash_client_secret=False
        )
        provided, basic = (None if how == "id" else ""), how == "Basic"
        pair = with_secret(site, "/oauth2/token/", dict(site.grant()), provided, basic=basic)
        assert pair.status == 200, pair.data
        foreign = make_site().token().access
        for token in (pair.access, foreign):
            form = {"token": token}
            assert with_secret(site, "/oauth2/revoke_token/", form, provided, basic=basic).status == 200
        asking = make_site()
        assert not asking.active(pair.access)
        assert asking.active(foreign)

    @pytest.mark.parametrize("basic", [True, False])
    def test_but_a_public_client_has_no_tokens_of_its_own(
        self, make_site: Callable[..., Site], basic: bool
    ) -> None:
        """RFC 6749 section 4.4: the grant is for confidential clients."""
        site = make_site(
            "client_credentials", client_type="public", client_secret="", hash_client_secret=False
        )
        answer = with_secret(site, "/oauth2/token/", dict(site.grant()), "", basic=basic)
        assert (answer.status, answer["error"]) == (401, "invalid_client")


def with_secret(site: Site, path: str, form: dict[str, str], secret: str | None, *, basic: bool) -> Answer:
    """Post a form as a client that sends its ID and a secret, or with None no secret."""
    if basic and secret is not None:
        site.secret = secret
        return site.post(path, form)
    named = {**form, "client_id": site.application.client_id}
    return site.post(
        path, named if secret is None else {**named, "client_secret": secret}, authenticate=False
    )
