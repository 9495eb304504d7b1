"""Sender-constrained tokens at APIs of every kind in the project of the server (RFC 9449 section 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client, override_settings

from oauth_binding.models import TokenPolicy
from tests.helpers.client import Site
from tests.helpers.dpop import DeviceKey
from tests.resource_server.apis import KINDS

#: An API of each kind that takes no bearer tokens.
CONSTRAINED = [
    *("drf/constrained", "drf/constrained-in-urls"),
    *("mixin/constrained", "mixin/constrained-in-urls", "async-mixin/constrained"),
    *("decorator/constrained", "async-decorator/constrained"),
]

ALGORITHMS = ["ES256", "EdDSA", "PS256"]

TOKEN_MIDDLEWARE = "tests.resource_server.apis.TokenMiddleware"

MakeToken = Callable[..., str]


class OutOfReach(LocMemCache):
    """A cache whose server does not answer."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError


@pytest.fixture(autouse=True)
def apis() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.resource_server.apis"):
        yield


@pytest.fixture
def key() -> DeviceKey:
    return DeviceKey()


@pytest.fixture
def make_token(make_bound: Callable[..., Site], key: DeviceKey) -> MakeToken:
    """Return a factory of access tokens that are constrained to the key."""

    def make(token_type: str = "opaque", **form: Any) -> str:
        site = make_bound(token_type)
        TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
        headers = {"DPoP": key.proof("POST", "/oauth2/token/")}
        answer = site.post("/oauth2/token/", site.grant(tokenBindingId="phone", **form), headers=headers)
        assert answer["token_type"] == "DPoP"
        return answer.access

    return make


def call(kind: str, headers: dict[str, str], *, middleware: bool = False, method: str = "GET") -> Any:
    """Call an API; that of sessions is one by the middleware."""
    installed = [*site_settings.MIDDLEWARE, *[TOKEN_MIDDLEWARE] * (middleware or kind == "session")]
    with override_settings(MIDDLEWARE=installed):
        return Client().generic(method, f"/{kind}/", headers=headers)


def prove(key: DeviceKey, token: str, kind: str, *, middleware: bool = False, **proof: Any) -> Any:
    """Call an API with a token and a new proof."""
    return call(kind, key.headers("GET", f"/{kind}/", token, **proof), middleware=middleware)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("kind", [*KINDS, *CONSTRAINED])
def test_the_key_opens_an_api_and_the_token_alone_does_not(
    make_token: MakeToken, key: DeviceKey, kind: str, token_type: str
) -> None:
    token = make_token(token_type)
    headers = key.headers("GET", f"/{kind}/", token)

    assert call(kind, headers).json()["user"] == "alice"
    for refused in (
        call(kind, headers),  # the same again
        call(kind, {"Authorization": f"Bearer {token}"}),
        call(kind, {**key.headers("GET", f"/{kind}/", token), "Authorization": f"Bearer {token}"}),
        call(kind, {"Authorization": f"DPoP {token}"}),
        prove(DeviceKey(), token, kind),
    ):
        assert refused.status_code == 401
        assert "DPoP" in refused["WWW-Authenticate"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_proof_is_told_why_by_the_scheme_of_proofs_alone(
    make_token: MakeToken, key: DeviceKey, kind: str
) -> None:
    token = make_token()

    refused = prove(key, token, kind, claims={"htm": "POST"})

    assert refused.status_code == 401
    metadata = f'resource_metadata="http://testserver/.well-known/oauth-protected-resource/{kind}/"'
    scope = "" if kind == "drf/any" else 'scope="read", '
    assert refused["WWW-Authenticate"] == (
        'DPoP error="invalid_dpop_proof", error_description="The DPoP proof is not valid: its htm is not the '
        f'method of this request.", {scope}{metadata}, algs="ES256 EdDSA PS256"'
    )


@pytest.mark.parametrize("kind", ["drf/scoped", "mixin/scoped", "async-decorator/scoped", "session"])
def test_a_token_without_the_scope_is_told_by_the_scheme_it_came_with(
    make_token: MakeToken, key: DeviceKey, kind: str
) -> None:
    refused = prove(key, make_token(scope="write"), kind)

    assert refused.status_code == 403
    assert refused["WWW-Authenticate"].startswith('DPoP error="insufficient_scope", ')


@pytest.mark.parametrize("kind", CONSTRAINED)
def test_an_api_that_takes_no_bearer_tokens(make_bound: Callable[..., Site], kind: str) -> None:
    bearer = {"Authorization": f"Bearer {make_bound().bound('phone').access}"}

    refused = call(kind, bearer)
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith(
        'DPoP error="invalid_token", error_description="This resource takes only sender-constrained access '
        'tokens.", '
    )
    # Nor does it offer to take one.
    assert call(kind, {"Authorization": "Bearer unknown"})["WWW-Authenticate"].startswith("DPoP error=")
    without = call(kind, {})
    assert without.status_code == 401
    assert "Bearer" not in without["WWW-Authenticate"]
    assert without["WWW-Authenticate"].endswith('algs="ES256 EdDSA PS256"')


def test_a_proof_counts_once_where_middleware_and_view_ask_for_it(
    make_token: MakeToken, key: DeviceKey
) -> None:
    token = make_token()

    for kind in [*KINDS, *CONSTRAINED]:
        headers = key.headers("GET", f"/{kind}/", token)
        answers = [call(kind, headers, middleware=True).status_code for _again in range(2)]
        assert answers == [200, 401], kind


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, *CONSTRAINED])
def test_nonces(make_token: MakeToken, key: DeviceKey, settings: Any, kind: str, middleware: bool) -> None:
    token = make_token()
    settings.OAUTH_BINDING = {"DPOP_NONCES": "everywhere"}

    refused = prove(key, token, kind, middleware=middleware)
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce", ')

    answer = prove(key, token, kind, nonce=refused["DPoP-Nonce"], middleware=middleware)
    assert answer.status_code == 200
    again = prove(key, token, kind, nonce=answer["DPoP-Nonce"], middleware=middleware)
    assert again.status_code == 200
    # What is refused for something else has one for the next try, too.
    thief = prove(DeviceKey(), token, kind, nonce=answer["DPoP-Nonce"], middleware=middleware)
    assert thief.status_code == 401
    assert prove(key, token, kind, nonce=thief["DPoP-Nonce"], middleware=middleware).status_code == 200


@pytest.mark.parametrize("nonces", ["off", "token_endpoint"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_nonces_at_apis_none_is_told(
    make_token: MakeToken, key: DeviceKey, settings: Any, kind: str, nonces: str
) -> None:
    token = make_token()
    settings.OAUTH_BINDING = {"DPOP_NONCES": nonces}

    assert "DPoP-Nonce" not in prove(key, token, kind)
    assert "DPoP-Nonce" not in call(kind, {"Authorization": f"DPoP {token}"})


@pytest.mark.parametrize("kind", KINDS)
def test_where_used_proofs_can_not_be_kept_nobody_is_let_in(
    make_token: MakeToken, key: DeviceKey, settings: Any, kind: str
) -> None:
    token = make_token()
    settings.CACHES = {**settings.CACHES, "proofs": {"BACKEND": f"{__name__}.OutOfReach"}}
    settings.OAUTH_BINDING = {"DPOP_REPLAY_CACHE": "proofs"}

    answer = prove(key, token, kind)

    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert "WWW-Authenticate" not in answer


@pytest.mark.parametrize("header", ["DPoP", "DPoP ", "dpop a b", "DPoP a,b", "DPoP a, Bearer b", "DPoP é"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_header_is_a_bad_request(db: None, kind: str, header: str) -> None:
    answer = call(kind, {"Authorization": header})

    assert answer.status_code == 400
    description = "The Authorization header does not have exactly one DPoP token."
    expected = f'DPoP error="invalid_request", error_description="{description}", '
    assert answer["WWW-Authenticate"].startswith(expected)


@pytest.mark.parametrize("kind", ["drf/toolkit/users", "drf/toolkit"])
def test_the_class_of_the_toolkit_lets_nobody_in_without_the_key(
    make_token: MakeToken, key: DeviceKey, kind: str
) -> None:
    token = make_token()
    headers = key.headers("GET", f"/{kind}/", token)

    def signed_in(headers: dict[str, str]) -> str:
        return str(call(kind, headers).json().get("user", ""))

    assert signed_in({**headers, "Authorization": f"Bearer {token}"}) == ""
    assert signed_in({"Authorization": f"DPoP {token}"}) == ""
    assert signed_in(headers) == "alice"
    assert signed_in(headers) == ""


@pytest.mark.parametrize("kind", [*KINDS, *CONSTRAINED, "drf/constrained-by-method"])
def test_the_metadata_says_how_tokens_are_proven(db: None, kind: str) -> None:
    described = call(f".well-known/oauth-protected-resource/{kind}", {}, middleware=True).json()

    assert described["dpop_signing_alg_values_supported"] == ALGORITHMS
    assert described.get("dpop_bound_access_tokens_required") == (True if kind in CONSTRAINED else None)


@pytest.mark.parametrize("identifier", ["https://[x", "the-api", "urn:api"])
def test_a_resource_that_is_no_address_has_metadata(db: None, settings: Any, identifier: str) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": identifier,
    }

    described = Client().get("/oauth2/.well-known/oauth-protected-resource").json()

    assert described["resource"] == identifier
    assert described["dpop_signing_alg_values_supported"] == ALGORITHMS


def test_the_metadata_of_the_whole_host_does_not_say_what_one_view_demands(db: None, settings: Any) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": "http://testserver/drf",
    }
    settings.OAUTH_BINDING = {"DPOP_ALGORITHMS": ["RS256"]}

    for kind in ("drf", "drf/constrained"):
        described = call(f".well-known/oauth-protected-resource/{kind}", {}).json()
        assert described["resource"] == "http://testserver/drf"
        assert described["dpop_signing_alg_values_supported"] == ["RS256"]
        assert "dpop_bound_access_tokens_required" not in described
