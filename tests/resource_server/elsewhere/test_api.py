"""What an API in a project without the server can build on: users, permissions, throttles, bindings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.resource_server import BearerTokenMiddleware, InvalidTokenError, get_user
from oauth_binding.resource_server.verified_token import AccessToken, TokenUser
from tests.helpers.dpop import OFFER
from tests.helpers.resource_server import INVALID, Api, Issuer, assert_invalid

BOUND: dict[str, Any] = {"binding_type": "client-request", "binding_ref": binding_reference("téléphone")}


def challenge(error: str, description: str, scope: str = "") -> str:
    attributes = f'Bearer realm="api",error="{error}",error_description="{description}"'
    scoped = f'{attributes},scope="{scope}"' if scope else attributes
    return f"{scoped}{OFFER}" if error == "invalid_token" else scoped


class TestRequests:
    @pytest.mark.parametrize("path", ["/me/", "/plain/"])
    def test_without_a_token(self, api: Api, issuer: Issuer, path: str) -> None:
        for authorization in ({}, {"Authorization": ""}, {"Authorization": "Basic YTpi"}):
            answer = api.call(path=path, **authorization)
            assert (answer.status, answer.challenge) == (401, f'Bearer realm="api",scope="read"{OFFER}')

    @pytest.mark.parametrize("path", ["/me/", "/plain/"])
    @pytest.mark.parametrize(
        "header",
        [
            "Bearer",
            "Bearer ",
            "bearer a b",
            "Bearer a, Bearer b",
            "Bearer a,Bearer b",
            "Bearer é",
            "Bearer ;",
        ],
    )
    def test_malformed_headers(self, api: Api, issuer: Issuer, path: str, header: str) -> None:
        answer = api.call(path=path, Authorization=header)

        assert (answer.status, answer.challenge) == (
            400,
            challenge("invalid_request", "The Authorization header does not have exactly one bearer token."),
        )
        assert issuer.asked == []

    def test_tokens_elsewhere_are_not_looked_for(self, api: Api, issuer: Issuer) -> None:
        assert api.call(path=f"/me/?access_token={issuer.token()}").status == 401
        assert api.http.post("/me/", {"access_token": issuer.token()}).status_code == 401
        assert issuer.asked == []

    def test_an_answer_is_for_one_token(self, api: Api, issuer: Issuer) -> None:
        for headers in ({}, {"Authorization": f"Bearer {issuer.token()}"}, {"Authorization": "Bearer x"}):
            assert "Authorization" in api.http.get("/plain/", headers=headers)["Vary"]


class TestPermissions:
    @pytest.mark.parametrize("path", ["/me/", "/plain/"])
    def test_a_missing_scope(self, api: Api, issuer: Issuer, path: str) -> None:
        answer = api.call(issuer.token(scope="write"), path)

        assert (answer.status, answer.challenge) == (
            403,
            challenge("insufficient_scope", "The access token does not have the scope.", "read"),
        )

    def test_a_token_without_scopes(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(scope=None)).status == 403
        assert api.call(issuer.token(scope="")).status == 403
        assert api.call(issuer.token(scope=None), "/for-users/").data["scope"] == ""

    def test_scopes_by_method(self, api: Api, issuer: Issuer) -> None:
        headers = {"Authorization": f"Bearer {issuer.token(scope='read')}"}

        assert api.http.get("/read-or-write/", headers=headers).status_code == 200
        assert api.http.post("/read-or-write/", headers=headers).status_code == 403

    def test_bound_tokens(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(**BOUND), "/bound/").status == 200
        assert api.call(issuer.token(), "/bound/").status == 403
        assert api.call(issuer.token(**BOUND), "/certificate/").status == 403
        certificate = {**BOUND, "binding_type": "certificate"}
        assert api.call(issuer.token(**certificate), "/certificate/").status == 200

    def test_presented_bindings(self, api: Api, issuer: Issuer) -> None:
        token = issuer.token(**BOUND)
        wrong = "Token-Binding-Id does not name what the access token is bound to."
        # Clients send UTF-8.
        sent = "téléphone".encode().decode("latin-1")

        assert api.call(token, "/presented/", Token_Binding_Id=sent).status == 200
        assert_invalid(api.call(token, "/presented/"), challenge("invalid_token", wrong, "read"))
        assert_invalid(
            api.call(token, "/presented/", Token_Binding_Id="x"), challenge("invalid_token", wrong, "read")
        )
        assert_invalid(
            api.call(issuer.token(), "/presented/", Token_Binding_Id=sent),
            challenge("invalid_token", "The access token is not bound.", "read"),
        )

    @pytest.mark.parametrize("path", ["/me/", "/plain/"])
    def test_every_request_may_have_to_present_it(
        self, api: Api, issuer: Issuer, configure: Callable[..., None], path: str
    ) -> None:
        configure(REQUIRE_PRESENTED_BINDING=True, BINDING_HEADER="X-Device")
        token = issuer.token(**{**BOUND, "binding_ref": binding_reference("phone")})

        assert api.call(token, path, X_Device="phone").status == 200
        assert_invalid(
            api.call(token, path, Token_Binding_Id="phone"),
            challenge("invalid_token", "X-Device does not name what the access token is bound to.", "read"),
        )
        assert_invalid(
            api.call(issuer.token(), path, X_Device="phone"),
            challenge("invalid_token", "The access token is not bound.", "read"),
        )

    def test_throttles_tell_users_apart(self, api: Api, issuer: Issuer) -> None:
        alice = [api.call(issuer.token(), "/throttled/").status for _ in range(5)]

        assert alice == [200, 200, 200, 429, 429]
        assert api.call(issuer.token(sub="bob"), "/throttled/").status == 200


def find_nobody(token: AccessToken) -> None:
    """Know no user."""


def find_by_claim(token: AccessToken) -> TokenUser:
    """Take the user of another claim."""
    return TokenUser(token.claims["email"], "x")


def find_inactive_user(token: AccessToken) -> User:
    return User(pk=1, username="x", is_active=False)


def refuse_user(token: AccessToken) -> None:
    raise InvalidTokenError("This user may not.")


def find_in_table(token: AccessToken) -> User | None:
    return User.objects.filter(username=token.claims["sub"]).first()


class TestUsers:
    def test_the_default_asks_no_table(self) -> None:
        user = get_user(AccessToken({"sub": "42", "client_id": "mobile", "username": "alice"}))

        assert user is not None
        assert (user.pk, user.id, user.username, str(user)) == ("42", "42", "alice", "alice")
        assert user.get_username() == "alice"
        assert (user.is_authenticated, user.is_anonymous, user.is_active) == (True, False, True)
        assert (user.is_staff, user.is_superuser, user.get_all_permissions()) == (False, False, set())
        assert not user.has_perm("x.y")
        assert not user.has_perms(["x.y"])
        assert not user.has_module_perms("x")
        assert user == TokenUser("42", "alice")

    @pytest.mark.parametrize("username", [None, "", 1, ["alice"]])
    def test_a_user_without_a_name_is_called_by_the_subject(self, username: Any) -> None:
        user = get_user(AccessToken({"sub": "42", "client_id": "mobile", "username": username}))

        assert user is not None
        assert user.username == "42"

    @pytest.mark.parametrize(
        ("function", "status", "user"),
        [
            (find_nobody, 200, None),
            (find_by_claim, 200, "alice@example.com"),
            (find_inactive_user, 401, None),
            (refuse_user, 401, None),
        ],
    )
    def test_a_function_of_the_project(
        self,
        api: Api,
        issuer: Issuer,
        configure: Callable[..., None],
        function: Callable[..., Any],
        status: int,
        user: str | None,
    ) -> None:
        configure(USER=f"{__name__}.{function.__name__}")

        for path in ("/me/", "/plain/"):
            answer = api.call(issuer.token(email="alice@example.com"), path)
            assert answer.status == status
            assert answer.data.get("user") == user

    @pytest.mark.django_db
    def test_users_in_a_table(self, api: Api, issuer: Issuer, configure: Callable[..., None]) -> None:
        configure(USER=f"{__name__}.find_in_table")
        alice = User.objects.create_user("alice")

        assert api.call(issuer.token(), "/for-users/").data["user"] == str(alice.pk)
        assert api.call(issuer.token(sub="bob"), "/for-users/").status in (401, 403)


class TokenMiddleware(BearerTokenMiddleware):
    required_scopes = ["read"]


class TestMiddleware:
    @pytest.fixture
    def site(self, api: Api) -> BearerTokenMiddleware:
        def get_response(request: HttpRequest) -> HttpResponse:
            return JsonResponse({"user": str(request.user), "anonymous": request.user.is_anonymous})

        return TokenMiddleware(get_response)

    def test_it_signs_in(self, site: BearerTokenMiddleware, issuer: Issuer) -> None:
        request = RequestFactory().get("/", headers={"Authorization": f"Bearer {issuer.token()}"})

        assert site(request).content == b'{"user": "alice", "anonymous": false}'

    def test_a_token_of_a_client(self, site: BearerTokenMiddleware, issuer: Issuer) -> None:
        token = issuer.token(sub="mobile")
        request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})

        site(request)

        assert isinstance(request.user, AnonymousUser)

    def test_a_token_without_the_scope(self, site: BearerTokenMiddleware, issuer: Issuer) -> None:
        token = issuer.token(scope="write")

        response = site(RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"}))

        assert response.status_code == 403
        assert 'error="insufficient_scope"' in response["WWW-Authenticate"]
        assert 'scope="read"' in response["WWW-Authenticate"]

    def test_it_refuses(self, site: BearerTokenMiddleware) -> None:
        response = site(RequestFactory().get("/", headers={"Authorization": "Bearer x"}))

        assert (response.status_code, response["WWW-Authenticate"]) == (401, INVALID)


class TestToken:
    def test_it_does_not_show_itself(self) -> None:
        token = AccessToken({"client_id": "mobile", "jti": "secret", "sub": "alice"})

        assert repr(token) == str(token) == "<AccessToken of client 'mobile'>"

    def test_a_token_without_an_expiry(self) -> None:
        token = AccessToken({"scope": "read"})

        assert token.expires is None
        assert token.is_valid(["read"])
        assert not token.is_valid(["write"])
        assert token.is_valid()
        assert token.allow_scopes([])
        assert token.client_id is None

    def test_an_expired_token(self, settings: Any) -> None:
        settings.OAUTH_RESOURCE_SERVER = {}
        token = AccessToken({"exp": 86_400, "scope": "read"})

        assert token.expires is not None
        assert token.expires.isoformat() == "1970-01-02T00:00:00+00:00"
        assert token.is_expired()
        assert not token.is_valid(["read"])


@pytest.mark.parametrize("key", ["ISSUER", "AUDIENCE", "JWKS_URL"])
def test_without_a_required_setting_no_token_is_valid(
    api: Api, issuer: Issuer, configure: Callable[..., None], key: str
) -> None:
    """Where checks were skipped."""
    configure(**{key: None})

    with pytest.raises(ImproperlyConfigured, match=key):
        api.call(issuer.token())
