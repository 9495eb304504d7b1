"""APIs that access tokens open: which tokens they take, what they find, and how they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oauth2_provider.models import Application

from oauth_binding.authorization_server import revoke_binding
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.toolkit_paths import OAuthLibCoreMixin
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.dpop import OFFER
from tests.helpers.rows import expire
from tests.resource_server.apis import KINDS

INVALID = "The access token is invalid."


@pytest.fixture(autouse=True)
def apis() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.resource_server.apis"):
        yield


#: "session" is a view that knows nothing of tokens.
with_middleware = override_settings(
    MIDDLEWARE=[*settings.MIDDLEWARE, "tests.resource_server.apis.TokenMiddleware"]
)


def call(path: str, token: str | None = None, *, method: str = "GET", **headers: str) -> Any:
    """Call an API, with headers in the manner of keyword arguments."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    with with_middleware if path == "session" else nullcontext():
        return Client(enforce_csrf_checks=True).generic(method, f"/{path}/", headers=sent)


def metadata(path: str) -> str:
    """Return the member of a challenge that names the metadata of an API."""
    return f'resource_metadata="http://testserver/.well-known/oauth-protected-resource{path}"'


def challenge(response: Any, error: str, description: str, scope: str = "") -> str:
    """Return the challenge that the API has to answer from which there is a response."""
    scope = f'scope="{scope}",' if scope else ""
    of_api = metadata(response.request["PATH_INFO"])
    bearer = f'Bearer realm="api",error="{error}",error_description="{description}",{scope}{of_api}'
    return f"{bearer}{OFFER}" if response.status_code == 401 else bearer


#: What APIs ask for that take no token without it; a client that asks for another token is told.
SCOPES = {f"/{kind}/": "read" for kind in KINDS if kind != "drf/any"} | {
    f"/{kind}/presented/": "read" for kind in ("mixin", "async-mixin")
}


def assert_invalid(response: Any, description: str = INVALID) -> None:
    assert response.status_code == 401
    asked = SCOPES.get(response.request["PATH_INFO"], "")
    assert response["WWW-Authenticate"] == challenge(response, "invalid_token", description, asked)


# What an API finds


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_api_knows_the_user(make_bound: Callable[..., Site], kind: str, token_type: str) -> None:
    response = call(kind, make_bound(token_type).bound("phone").access)

    assert response.status_code == 200
    assert response.json()["user"] == "alice"


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", ["drf/any", "mixin/scoped", "decorator/scoped"])
def test_an_api_knows_which_device_calls(make_bound: Callable[..., Site], kind: str, token_type: str) -> None:
    site = make_bound(token_type)

    phone = call(kind, site.bound("phone").access).json()
    laptop = call(kind, site.bound("laptop").access).json()
    unbound = call(kind, site.bound(None).access).json()

    assert phone["binding_type"] == laptop["binding_type"] == "client-request"
    assert phone["binding_ref"] == binding_reference("phone")
    assert laptop["binding_ref"] == binding_reference("laptop")
    assert not unbound["binding_ref"]


@pytest.mark.parametrize("kind", ["drf/any", "decorator/scoped", "session"])
def test_a_token_of_a_client_has_no_user(make_bound: Callable[..., Site], kind: str) -> None:
    response = call(kind, make_bound("opaque", "client_credentials").bound("node-1").access)

    assert response.status_code == 200
    assert not response.json()["user"]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", ["drf/any", "mixin/scoped", "decorator/scoped"])
def test_authentication_takes_one_query(make_bound: Callable[..., Site], kind: str, token_type: str) -> None:
    token = make_bound(token_type).bound("phone").access

    with CaptureQueriesContext(connection) as queries:
        assert call(kind, token).json()["binding_type"] == "client-request"

    assert len(queries) == 1


# What it refuses


@pytest.mark.parametrize("kind", [*KINDS, "drf/bound-or-staff"])
def test_a_token_that_is_not_valid_never_passes_as_anonymous(user: User, kind: str) -> None:
    assert_invalid(call(kind, "unknown"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_token_is_refused(make_bound: Callable[..., Site], kind: str) -> None:
    token = make_bound().bound("phone").access
    expire(token)

    assert_invalid(call(kind, token), "The access token has expired.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_superseded_jwt_is_refused(make_bound: Callable[..., Site], kind: str) -> None:
    site = make_bound("jwt")
    superseded = site.bound("phone").access
    live = site.bound("phone").access

    assert_invalid(call(kind, superseded), "The access token has expired.")
    assert call(kind, live).status_code == 200


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_revoked_token_is_refused(make_bound: Callable[..., Site], kind: str, token_type: str) -> None:
    site = make_bound(token_type)
    phone, laptop = site.bound("phone").access, site.bound("laptop").access
    revoke_binding(TokenBinding.objects.get(reference=binding_reference("phone")))

    assert call(kind, phone).status_code == 401
    assert call(kind, laptop).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_an_inactive_user_is_refused(
    make_bound: Callable[..., Site], user: User, kind: str
) -> None:
    token = make_bound().bound("phone").access
    User.objects.update(is_active=False)

    assert_invalid(call(kind, token))


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_a_disabled_application_is_refused(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token = make_bound().bound("phone").access
    # The hook by which django-oauth-toolkit's applications say that they are disabled.
    monkeypatch.setattr(Application, "is_usable", lambda application, request: False)

    assert_invalid(call(kind, token))


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_for_another_resource_is_refused(make_bound: Callable[..., Site], kind: str) -> None:
    site = make_bound()
    elsewhere = site.bound("phone", resource="https://elsewhere.example/").access
    here = site.bound("phone", resource="http://testserver/").access

    assert_invalid(call(kind, elsewhere), "The access token is not valid for this resource.")
    assert call(kind, here).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_refresh_or_id_token_is_no_access_token(make_site: Callable[..., Site], kind: str) -> None:
    answer = make_site("authorization_code").token(scope="openid read")

    assert_invalid(call(kind, answer["id_token"]))
    assert_invalid(call(kind, answer.refresh))
    assert call(kind, answer.access).status_code == 200


def test_an_id_token_opens_apis_with_the_class_of_the_toolkit(make_site: Callable[..., Site]) -> None:
    id_token = make_site("authorization_code").token(scope="openid read")["id_token"]

    assert call("drf/toolkit", id_token).json()["user"] == "alice"


def test_the_descriptions_are_not_translated(user: User) -> None:
    assert_invalid(call("drf/any", "unknown", Accept_Language="de"))


@pytest.mark.parametrize(
    "kind",
    ["mixin/scoped", "decorator/scoped", "async-mixin/scoped", "async-decorator/scoped", "drf/scoped"],
)
def test_a_request_without_a_token_is_challenged_without_an_error(user: User, kind: str) -> None:
    response = call(kind)

    assert response.status_code == 401
    scope = "read write" if kind == "drf/scoped" else "read"
    assert (
        response["WWW-Authenticate"] == f'Bearer realm="api",scope="{scope}",{metadata(f"/{kind}/")}{OFFER}'
    )


@pytest.mark.parametrize("kind", ["session", "drf/any"])
def test_a_request_without_a_token_may_be_anonymous(user: User, kind: str) -> None:
    assert call(kind).json()["user"] == ""
    assert call(kind, Authorization="Basic YTpi").json()["user"] == ""


@pytest.mark.parametrize(
    ("kind", "method", "scope"),
    [
        ("drf/scoped", "GET", "read write"),
        ("drf/read-write", "POST", "write"),
        ("drf/scoped-and-bound", "GET", "read write"),
        ("drf/staff", "GET", "write"),
        ("drf/alternatives", "GET", "write"),
    ],
)
def test_a_token_without_the_scope_is_told_which(
    make_bound: Callable[..., Site], kind: str, method: str, scope: str
) -> None:
    response = call(kind, make_bound().bound("phone", scope="read").access, method=method)

    assert response.status_code == 403
    expected = challenge(response, "insufficient_scope", "The access token does not have the scope.", scope)
    assert response["WWW-Authenticate"] == expected


@pytest.mark.parametrize(
    "kind", ["mixin/scoped", "decorator/scoped", "async-mixin/scoped", "async-decorator/scoped"]
)
def test_a_plain_view_tells_which_scope_is_missing(make_bound: Callable[..., Site], kind: str) -> None:
    response = call(kind, make_bound().bound("phone", scope="write").access)

    assert response.status_code == 403
    expected = challenge(response, "insufficient_scope", "The access token does not have the scope.", "read")
    assert response["WWW-Authenticate"] == expected


def test_throttles_count_users(make_bound: Callable[..., Site]) -> None:
    cache.clear()
    site = make_bound()

    assert call("drf/throttled", site.bound("phone").access).status_code == 200
    assert call("drf/throttled", site.bound("laptop").access).status_code == 429


# Bindings


@pytest.mark.parametrize("kind", ["drf/bound", "mixin/bound", "decorator/bound"])
def test_an_api_for_bound_tokens(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], kind: str
) -> None:
    site = make_bound()

    assert call(kind, site.bound("phone").access).status_code == 200
    refused = 403 if kind == "drf/bound" else 401
    assert call(kind, site.bound(None).access).status_code == refused
    assert call(kind, make_site().token().access).status_code == refused
    assert call(kind).status_code == 401


@pytest.mark.parametrize("kind", ["drf/bound", "drf/scoped-and-bound"])
def test_a_token_that_is_not_bound_is_told_so(make_bound: Callable[..., Site], kind: str) -> None:
    response = call(kind, make_bound().token(scope="read write").access)

    assert response.status_code == 403
    expected = "The access token is not bound to what this resource asks for."
    assert response["WWW-Authenticate"] == challenge(response, "insufficient_scope", expected)


def test_who_is_refused_for_something_else_is_not_told_of_scopes(make_bound: Callable[..., Site]) -> None:
    response = call("drf/staff", make_bound().bound("phone", scope="write").access)  # for being bound

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize(
    ("kind", "scope"),
    [("drf/scoped-and-bound", "read write"), ("drf/staff", "write"), ("drf/alternatives", "write")],
)
def test_combined_permissions_tell_the_scopes_before_there_is_a_token(
    user: User, kind: str, scope: str
) -> None:
    assert (
        call(kind)["WWW-Authenticate"] == f'Bearer realm="api",scope="{scope}",{metadata(f"/{kind}/")}{OFFER}'
    )


@pytest.mark.parametrize("kind", ["drf/certificate", "decorator/certificate"])
def test_an_api_for_other_binding_types(make_bound: Callable[..., Site], kind: str) -> None:
    refused = 403 if kind == "drf/certificate" else 401
    assert call(kind, make_bound().bound("phone").access).status_code == refused


def test_the_permission_combines_with_others(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound()
    staff = Client()
    staff.force_login(User.objects.create_user("operator", is_staff=True))

    assert call("drf/bound-or-staff", site.bound("phone").access).status_code == 200
    assert call("drf/bound-or-staff", site.bound(None).access).status_code == 403
    assert staff.get("/drf/bound-or-staff/").status_code == 200


PRESENTED = [
    "drf/presented",
    *("mixin/presented", "decorator/presented", "async-mixin/presented", "async-decorator/presented"),
]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", PRESENTED)
def test_an_api_that_wants_the_binding_named(
    make_bound: Callable[..., Site], kind: str, token_type: str
) -> None:
    site = make_bound(token_type)
    token = site.bound("phone").access
    refusal = "Token-Binding-Id does not name what the access token is bound to."

    assert call(kind, token, Token_Binding_Id="phone").status_code == 200
    assert_invalid(call(kind, token), refusal)
    assert_invalid(call(kind, token, Token_Binding_Id=""), refusal)
    assert_invalid(call(kind, token, Token_Binding_Id="Phone"), refusal)
    assert_invalid(call(kind, token, Token_Binding_Id="laptop"), refusal)
    # What everybody can read in the token is not what it is bound to.
    assert_invalid(call(kind, token, Token_Binding_Id=binding_reference("phone")), refusal)


@pytest.mark.parametrize("kind", PRESENTED)
def test_an_unbound_token_can_not_name_a_binding(make_bound: Callable[..., Site], kind: str) -> None:
    token = make_bound().bound(None).access

    assert_invalid(call(kind, token, Token_Binding_Id=""), "The access token is not bound.")
    assert_invalid(call(kind, token, Token_Binding_Id="phone"), "The access token is not bound.")


@pytest.mark.parametrize("kind", PRESENTED)
def test_a_binding_of_any_characters_is_named_in_utf_8(make_bound: Callable[..., Site], kind: str) -> None:
    token = make_bound().bound("Jürgens 電話 📱").access
    header = "Jürgens 電話 📱".encode().decode("latin-1")  # as WSGI servers hand it over

    assert call(kind, token, Token_Binding_Id=header).status_code == 200
    assert call(kind, token, Token_Binding_Id="J\xfcrgens").status_code == 401


def test_an_application_can_want_the_binding_named_everywhere(make_bound: Callable[..., Site]) -> None:
    site = make_bound(require_presented_binding="yes")
    token = site.bound("phone").access

    for kind in KINDS:
        assert call(kind, token, Token_Binding_Id="phone").status_code == 200
        assert call(kind, token).status_code == 401
        assert call(kind, site.bound(None).access).status_code == 401


def test_a_report_of_the_application_leaves_what_an_api_demands(make_bound: Callable[..., Site]) -> None:
    site = make_bound(require_presented_binding="report")
    token = site.bound("phone").access

    for kind in KINDS:
        assert call(kind, token).status_code == 200
    for kind in PRESENTED:
        assert call(kind, token, Token_Binding_Id="phone").status_code == 200
        assert call(kind, token).status_code == 401


def test_the_header_can_be_another(make_bound: Callable[..., Site]) -> None:
    token = make_bound().bound("phone").access

    with override_settings(OAUTH_BINDING={"BINDING_HEADER": "X-Device"}):
        assert call("drf/presented", token, X_Device="phone").status_code == 200
        refusal = "X-Device does not name what the access token is bound to."
        assert_invalid(call("drf/presented", token, Token_Binding_Id="phone"), refusal)


# Plain views


@pytest.mark.parametrize("kind", ["mixin/scoped", "async-mixin/scoped", "session"])
def test_a_token_needs_no_csrf_token(make_bound: Callable[..., Site], kind: str) -> None:
    token = make_bound().bound("phone").access

    assert call(kind, token, method="POST").status_code == 200
    assert call(kind, method="POST").status_code == (403 if kind == "session" else 401)


@pytest.mark.parametrize("kind", ["session", "mixin/scoped", "decorator/any", "async-decorator/scoped"])
def test_an_answer_varies_with_the_token(make_bound: Callable[..., Site], kind: str) -> None:
    for token in (make_bound().bound("phone").access, "unknown"):
        assert "Authorization" in call(kind, token)["Vary"]


@with_middleware
def test_a_token_goes_before_a_session(make_bound: Callable[..., Site], user: User) -> None:
    browser = Client()
    browser.force_login(User.objects.create_user("operator"))
    token = make_bound().bound("phone").access

    assert browser.get("/session/").json() == {"user": "operator"}
    response = browser.get("/session/", headers={"Authorization": f"Bearer {token}"})
    assert response.json() == {"user": "alice"}
    assert browser.get("/session/").json() == {"user": "operator"}


def test_a_preflight_request_needs_no_token(user: User) -> None:
    assert call("mixin/scoped", method="OPTIONS").status_code == 200
    assert call("async-mixin/scoped", method="OPTIONS").status_code == 200


# Bad input

MALFORMED = [
    "Bearer",
    "Bearer ",
    "bearer  ",
    "Bearer a b",
    "Bearer a,b",
    "Bearer a, Bearer b",  # two headers, as servers join them
    "Bearer a,Basic YTpi",
    "Bearer =a",
    'Bearer "a"',
    "Bearer a\tb",
    "Bearer t\xf6ken",
    "Bearer a\x00",
]


@pytest.mark.parametrize("header", MALFORMED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_header_is_a_bad_request(user: User, kind: str, header: str) -> None:
    response = call(kind, Authorization=header)

    assert response.status_code == 400
    description = "The Authorization header does not have exactly one bearer token."
    assert response["WWW-Authenticate"] == challenge(response, "invalid_request", description)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_has_no_case(make_bound: Callable[..., Site], scheme: str) -> None:
    token = make_bound().bound("phone").access
    assert call("drf/any", Authorization=f"{scheme} {token}").json()["user"] == "alice"


@pytest.mark.parametrize(
    "token", ["x" * 16_384, "x" * 16_385, "ey" * 500_000, "a.b.c", "....", "-", "a" + "=" * 99]
)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_tokens_are_invalid(user: User, kind: str, token: str) -> None:
    assert_invalid(call(kind, token))


def test_a_token_in_the_query_string_or_the_body_is_not_looked_for(make_bound: Callable[..., Site]) -> None:
    token = make_bound().bound("phone").access

    assert Client().get("/decorator/any/", {"access_token": token}).status_code == 401
    assert Client().post("/decorator/any/", {"access_token": token}).status_code == 401
    assert Client().get("/decorator/any/?%zz=%").status_code == 401


HEADERS = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["Bearer", "bearer", "Basic", "Bearer\t"]),
        st.sampled_from(["", " ", "  ", ","]),
        st.text(st.characters(max_codepoint=255)),
    ),
    st.from_regex(re.compile(r"Bearer [\w.~+/-]+=*", re.ASCII), fullmatch=True),
    st.from_regex(r"(Bearer )?ey[A-Za-z0-9_-]*\.ey[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True),
)


@hypothesis_settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=HEADERS)
@example(header="Bearer " + "[" * 10_000)
def test_no_header_is_an_error_of_the_server(user: User, header: str) -> None:
    kinds = ("drf/scoped", "decorator/scoped", "session")
    answers = {kind: call(kind, Authorization=header) for kind in kinds}
    is_bearer = header[:6].lower() == "bearer" and header[6:7] in ("", " ")
    for kind, answer in answers.items():
        expected = {400, 401} if is_bearer else {200} if kind == "session" else {401}
        assert answer.status_code in expected
        if answer.status_code != 200:
            assert answer["WWW-Authenticate"].startswith("Bearer ")
            assert answer["WWW-Authenticate"].isascii()


def test_an_api_leaves_the_toolkits_views_their_own_core(make_site: Callable[..., Site]) -> None:
    """django-oauth-toolkit keeps it on the class that asks, and each view would inherit that of the mixin."""
    token = make_site().token().access

    assert call("drf/any", token).status_code == 200
    assert "_oauthlib_core" not in vars(OAuthLibCoreMixin)


def test_a_core_of_the_mixin_is_not_that_of_the_device_grant(make_site: Callable[..., Site]) -> None:
    """A site may ask the mixin for one, too; the device authorization endpoint has another server."""
    site = make_site("urn:ietf:params:oauth:grant-type:device_code")
    OAuthLibCoreMixin.get_oauthlib_core()
    try:
        assert site.start_device().status == 200
    finally:
        del OAuthLibCoreMixin._oauthlib_core


@pytest.mark.parametrize("path", ["drf/presented", "drf/constrained-in-urls"])
@pytest.mark.django_db
def test_what_asks_for_more_than_a_token_asks_for_a_token_first(path: str) -> None:
    response = call(path)

    assert response.status_code == 401
    assert "error" not in response["WWW-Authenticate"]
