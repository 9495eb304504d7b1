"""Sender-constrained tokens at an API in a project without the server (RFC 9449 section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from oauth_binding.proof.nonces import new_nonce
from tests.helpers.dpop import DeviceKey
from tests.helpers.resource_server import INVALID, Api, Issuer

#: The views of the API that take the scope "read": of Django REST framework, and a plain one.
VIEWS = ("/me/", "/plain/")

#: A thumbprint that is nobody's.
OTHER = "A" * 43

LOC_MEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}

Make = Callable[..., str]


class OutOfReach(LocMemCache):
    """A cache whose server does not answer."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("no route to redis.internal")


class KeepsNothing(LocMemCache):
    """A cache that drops what it gets, as some do whose server does not answer."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False


@pytest.fixture
def key() -> DeviceKey:
    return DeviceKey()


@pytest.fixture(params=["jwt", "introspected"])
def make_token(
    request: pytest.FixtureRequest, api: Api, issuer: Issuer, introspecting: Callable[..., None]
) -> Make:
    """Return a factory of access tokens with other claims than usual: JWTs, and texts to be introspected."""
    if request.param == "jwt":
        return issuer.token
    introspecting(INTROSPECTION_CACHE_SECONDS=0)

    def make(**claims: Any) -> str:
        usual = {"active": True, "scope": "read", "client_id": "mobile", "sub": "alice", "token_type": "DPoP"}
        issuer.active["opaque"] = usual | claims
        return "opaque"

    return make


@pytest.fixture
def token(make_token: Make, key: DeviceKey) -> str:
    """Return a token that is constrained to the key."""
    return make_token(cnf={"jkt": key.thumbprint})


@pytest.mark.parametrize("path", VIEWS)
def test_whoever_has_the_key_is_let_in(api: Api, key: DeviceKey, token: str, path: str) -> None:
    answer = api.prove(key, token, path)

    assert answer.status == 200
    assert answer.data["user"] == "alice"
    assert answer.data["confirmation"] == f"jkt:{key.thumbprint}"


@pytest.mark.parametrize("path", VIEWS)
def test_nobody_is_let_in_who_has_the_token_alone(api: Api, key: DeviceKey, token: str, path: str) -> None:
    thief = DeviceKey()
    refused = {
        "as a bearer token": api.call(token, path),
        "as one, with a proof": api.call(token, path, DPoP=key.proof("GET", path, access_token=token)),
        "by another key": api.prove(thief, token, path),
    }

    for how, answer in refused.items():
        assert answer.status == 401, how
        assert 'error="invalid_token"' in str(answer.challenge), how
        assert 'algs="ES256 EdDSA PS256"' in str(answer.challenge), how


@pytest.mark.parametrize("path", VIEWS)
def test_nor_with_a_proof_that_is_not_of_this_request(
    api: Api, key: DeviceKey, token: str, path: str
) -> None:
    seen = key.headers("GET", path, token)
    assert api.call(None, path, **seen).status == 200
    refused = {
        "without a proof": api.call(None, path, Authorization=f"DPoP {token}"),
        "with one that was seen": api.call(None, path, **seen),
        "with one of another address": api.prove(
            key, token, path, claims={"htu": "http://testserver/bound/"}
        ),
        "with one of another host": api.prove(
            key, token, path, claims={"htu": f"https://other.example{path}"}
        ),
        "with one of another token": api.prove(key, token, path, claims={"ath": OTHER}),
        "with one of a token request": api.prove(key, token, path, drop=["ath"]),
    }

    for how, answer in refused.items():
        assert answer.status == 401, how
        assert str(answer.challenge).startswith('DPoP error="invalid_dpop_proof", '), how


@pytest.mark.parametrize("path", VIEWS)
def test_a_proof_makes_no_more_of_a_bearer_token(
    api: Api, make_token: Make, key: DeviceKey, path: str
) -> None:
    answer = api.prove(key, make_token(token_type="Bearer"), path)

    assert answer.status == 401
    assert str(answer.challenge).startswith('DPoP error="invalid_token", ')


@pytest.mark.parametrize(
    "confirmation",
    [
        {"x5t#S256": OTHER},
        {"kid": "one"},
        {"jwk": {"kty": "EC"}},
        {"x": 1},
        {},
        {"jkt": OTHER, "x5t#S256": OTHER},
    ],
)
def test_a_token_whose_proof_is_not_understood_is_no_bearer_token(
    api: Api, make_token: Make, key: DeviceKey, confirmation: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "oauth_binding")
    token = make_token(cnf=confirmation, token_type="Bearer")

    for path in VIEWS:
        assert api.call(token, path).challenge == INVALID
        assert api.prove(key, token, path).status == 401
    assert "its cnf has members other than jkt" in caplog.text


@pytest.mark.parametrize(
    "confirmation",
    [
        "x",
        1,
        True,
        [],
        ["jkt"],
        *({"jkt": each} for each in (None, 1, "", OTHER[1:], OTHER + "A", OTHER[1:] + "=")),
    ],
)
def test_a_confirmation_of_another_type(
    api: Api, make_token: Make, issuer: Issuer, key: DeviceKey, confirmation: Any
) -> None:
    """A JWT is refused; an answer of the server says nothing then."""
    token = make_token(cnf=confirmation, token_type="Bearer")
    expected = 503 if token in issuer.active else 401

    for path in VIEWS:
        assert api.call(token, path).status == expected
        assert api.prove(key, token, path).status == expected


@pytest.mark.parametrize("token_type", ["DPoP", "dpop", "DPOP", "Bearer", "access_token", None])
def test_the_type_that_introspection_says(
    api: Api,
    introspecting: Callable[..., None],
    issuer: Issuer,
    key: DeviceKey,
    token_type: str | None,
) -> None:
    """The key counts, which not all servers say the type of."""
    introspecting(INTROSPECTION_CACHE_SECONDS=0)
    issuer.active["x"] = {
        "active": True,
        "scope": "read",
        "token_type": token_type,
        "cnf": {"jkt": key.thumbprint},
    }

    assert api.prove(key, "x").status == 200
    assert api.call("x").status == 401


def test_a_type_without_a_key(
    api: Api, introspecting: Callable[..., None], issuer: Issuer, key: DeviceKey
) -> None:
    introspecting()
    issuer.active["x"] = {"active": True, "scope": "read", "token_type": "DPoP"}

    assert api.call("x").challenge == INVALID
    assert api.prove(key, "x").status == 401


def test_a_key_that_introspection_alone_says(
    api: Api, introspecting: Callable[..., None], issuer: Issuer, key: DeviceKey
) -> None:
    """Where JWTs are validated here and asked about as well."""
    introspecting("local+introspection")
    token = issuer.token()
    issuer.active[token] = {"active": True, "cnf": {"jkt": key.thumbprint}}

    assert api.call(token).status == 401
    assert api.prove(key, token).status == 200


class TestSettings:
    def test_algorithms(self, api: Api, issuer: Issuer, configure: Callable[..., None]) -> None:
        keys = {name: DeviceKey(name) for name in ("ES256", "EdDSA", "PS256", "RS256")}

        def let_in() -> set[str]:
            return {
                name
                for name, key in keys.items()
                if api.prove(key, issuer.token(cnf={"jkt": key.thumbprint})).status == 200
            }

        assert let_in() == {"ES256", "EdDSA", "PS256"}
        configure(DPOP_ALGORITHMS=["RS256", "ES256"])
        assert let_in() == {"RS256", "ES256"}
        assert str(api.call().challenge).endswith(', DPoP algs="RS256 ES256"')

    @pytest.mark.parametrize("path", VIEWS)
    def test_nonces(
        self, api: Api, issuer: Issuer, configure: Callable[..., None], key: DeviceKey, path: str
    ) -> None:
        token = issuer.token(cnf={"jkt": key.thumbprint})
        configure(DPOP_NONCES=True)

        refused = api.prove(key, token, path)
        assert refused.status == 401
        assert str(refused.challenge).startswith('DPoP error="use_dpop_nonce", ')

        answer = api.prove(key, token, path, nonce=refused.nonce)
        assert answer.status == 200
        assert api.prove(key, token, path, nonce=answer.nonce).status == 200

        # Also on answers that refuse something else.
        narrow = issuer.token(cnf={"jkt": key.thumbprint}, scope="write")
        forbidden = api.prove(key, narrow, path, nonce=answer.nonce)
        assert forbidden.status == 403
        assert api.prove(key, token, path, nonce=forbidden.nonce).status == 200
        # Bearer tokens need none, and are told none.
        assert api.call(issuer.token(), path).nonce is None

    def test_without_them_none_is_told(self, api: Api, issuer: Issuer, key: DeviceKey) -> None:
        assert api.prove(key, issuer.token(cnf={"jkt": key.thumbprint})).nonce is None

    def test_nonces_are_those_of_this_project(
        self, api: Api, issuer: Issuer, configure: Callable[..., None], key: DeviceKey, settings: Any
    ) -> None:
        """Signed with its own key; that of the server is another."""
        token = issuer.token(cnf={"jkt": key.thumbprint})
        configure(DPOP_NONCES=True)
        ours = settings.SECRET_KEY
        settings.SECRET_KEY = "that of the server"
        foreign = new_nonce()

        settings.SECRET_KEY = ours
        refused = api.prove(key, token, nonce=foreign)
        assert refused.status == 401
        assert 'error="use_dpop_nonce"' in str(refused.challenge)

        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [ours]
        assert api.prove(key, token, nonce=refused.nonce).status == 200

    def test_used_proofs_are_in_the_cache_that_is_named(
        self, api: Api, issuer: Issuer, configure: Callable[..., None], key: DeviceKey, settings: Any
    ) -> None:
        settings.CACHES = {
            name: {**LOC_MEM, "LOCATION": f"{__name__}.{name}"} for name in ("default", "one", "two")
        }
        token = issuer.token(cnf={"jkt": key.thumbprint})
        headers = key.headers("GET", "/me/", token)

        def present(cache: str) -> int:
            configure(DPOP_REPLAY_CACHE=cache)
            return api.call(**headers).status

        assert [present(cache) for cache in ("one", "one", "two", "two")] == [200, 401, 200, 401]

    @pytest.mark.parametrize("path", VIEWS)
    @pytest.mark.parametrize("cache", [OutOfReach, KeepsNothing])
    def test_a_cache_that_is_down_lets_nobody_in(
        self,
        api: Api,
        issuer: Issuer,
        key: DeviceKey,
        settings: Any,
        path: str,
        cache: type,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": f"{__name__}.{cache.__name__}"}}
        token = issuer.token(cnf={"jkt": key.thumbprint})

        answer = api.prove(key, token, path)

        assert (answer.status, answer.challenge) == (503, None)
        assert "It can't be checked now" in str(answer.data)
        assert api.call(issuer.token(), path).status == 200
        # Who has no right to come in does not learn of it.
        assert api.prove(DeviceKey(), token, path).status == 401
        assert "redis.internal" not in caplog.text


class TestDemands:
    def test_views_that_take_no_bearer_tokens(self, api: Api, issuer: Issuer, key: DeviceKey) -> None:
        token = issuer.token(cnf={"jkt": key.thumbprint})

        for path in ("/constrained/", "/plain-constrained/"):
            assert api.prove(key, token, path).status == 200
            refused = api.call(issuer.token(), path)
            assert refused.status == 401
            assert str(refused.challenge).startswith('DPoP error="invalid_token", ')
            assert api.call(None, path).challenge == 'DPoP scope="read", algs="ES256 EdDSA PS256"'
