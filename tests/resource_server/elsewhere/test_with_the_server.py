"""The API in another project, and this server beside it: the same code, the same answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory

from oauth_binding.authorization_server.endpoints import revocation_feed
from oauth_binding.models import TokenPolicy
from oauth_binding.resource_server import get_authenticator
from tests.helpers.audiences import set_policy
from tests.helpers.client import Site
from tests.helpers.dpop import OFFER, DeviceKey
from tests.helpers.resource_server import INVALID, Api
from tests.helpers.rows import expire

#: Seconds.
INTERVAL = 0.4


@pytest.fixture(params=["local", "introspection", "local+introspection"])
def validation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def elsewhere(live_server: Any, settings: Any, make_site: Callable[..., Site]) -> Callable[..., None]:
    """Return a function that lets the API take the tokens of the live server, as in another project."""
    settings.ROOT_URLCONF = "tests.resource_server.elsewhere.server_urls"
    own = make_site("client_credentials", as_user=None)
    # The tests ask for tokens in this process, and the server calls itself by the name they use.
    issuer, resource = "http://testserver/oauth2", "http://testserver/"

    def configure(validation: str, **options: Any) -> None:
        base = f"{live_server.url}/oauth2"
        configured: dict[str, Any] = {
            "ISSUER": issuer,
            "AUDIENCE": [issuer, resource],
            "VALIDATION": validation,
        }
        if validation != "introspection":
            configured["JWKS_URL"] = f"{base}/.well-known/jwks.json"
        if validation != "local":
            configured |= {
                "INTROSPECTION_URL": f"{base}/introspect/",
                "CLIENT_ID": own.application.client_id,
                "CLIENT_SECRET": own.secret,
                "INTROSPECTION_CACHE_SECONDS": INTERVAL,
            }
        else:
            configured |= {
                "REVOCATION_FEED_URL": f"{base}/revoked-tokens/",
                "REVOCATION_INTERVAL": INTERVAL,
            }
        settings.OAUTH_RESOURCE_SERVER = {**configured, **options}

    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OIDC_ISS_ENDPOINT": issuer,
        "OAUTH2_PROTECTED_RESOURCE_IDENTIFIER": resource,
    }
    settings.OAUTH_BINDING = {"REVOCATION_FEED": True}
    return configure


@pytest.fixture
def here(settings: Any) -> Callable[[], None]:
    """Return a function that puts the API into the project of the server again."""

    def configure() -> None:
        del settings.OAUTH_RESOURCE_SERVER

    return configure


PATHS = ("/me/", "/for-users/", "/read-or-write/", "/bound/", "/certificate/", "/presented/", "/plain/")


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("binding_id", ["phone", None])
def test_the_same_answers_in_both_projects(
    elsewhere: Callable[..., None],
    here: Callable[[], None],
    make_bound: Callable[..., Site],
    validation: str,
    token_type: str,
    binding_id: str | None,
) -> None:
    if (token_type, validation) == ("opaque", "local"):
        pytest.skip("opaque tokens have to be introspected")
    token = make_bound(token_type).bound(binding_id).access
    api = Api()

    def ask_all() -> list[Any]:
        return [api.call(token, path, Token_Binding_Id="phone") for path in PATHS]

    expected = ask_all()
    elsewhere(validation)

    assert ask_all() == expected
    assert [answer.status for answer in expected] == (
        [200, 200, 200, 200, 403, 200, 200] if binding_id else [200, 200, 200, 403, 403, 401, 200]
    )
    here()
    assert ask_all() == expected


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_api_takes_the_tokens_that_are_for_it(
    elsewhere: Callable[..., None],
    here: Callable[[], None],
    make_bound: Callable[..., Site],
    validation: str,
    token_type: str,
) -> None:
    if (token_type, validation) == ("opaque", "local"):
        pytest.skip("opaque tokens have to be introspected")
    site = make_bound(token_type)
    set_policy(
        site, allowed_audiences="http://testserver/ https://b.example", default_audiences="https://b.example"
    )
    tokens = [site.bound("phone", **asked).access for asked in ({"resource": "http://testserver/"}, {})]
    api = Api()

    def statuses() -> list[int]:
        return [api.call(token).status for token in tokens]

    assert statuses() == [200, 401]
    elsewhere(validation)
    assert statuses() == [200, 401]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_api_is_told_what_is_ticked(
    elsewhere: Callable[..., None],
    make_bound: Callable[..., Site],
    settings: Any,
    validation: str,
    token_type: str,
) -> None:
    if (token_type, validation) == ("opaque", "local"):
        pytest.skip("opaque tokens have to be introspected")
    elsewhere(validation)
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "CLAIM_SOURCES": {"email": "email"}}
    site = make_bound(token_type)
    set_policy(site, claims="email")
    token = site.bound("phone").access

    request = RequestFactory().get("/me/", headers={"Authorization": f"Bearer {token}"})

    assert get_authenticator().authenticate(request).claims["email"] == "alice@example.com"


@pytest.mark.usefixtures("feed_without_pause")
def test_a_superseded_and_a_revoked_token_are_refused_within_the_interval(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], validation: str
) -> None:
    site = make_bound("jwt")
    elsewhere(validation)
    api = Api()
    phone, laptop, tablet = (site.bound(name).access for name in ("phone", "laptop", "tablet"))
    assert [api.call(token).status for token in (phone, laptop, tablet)] == [200, 200, 200]

    new = site.bound("phone").access
    site.revoke(tablet)
    time.sleep(INTERVAL)

    assert [api.call(token).status for token in (phone, laptop, tablet, new)] == [401, 200, 401, 200]
    assert api.call(phone).challenge == with_metadata(INVALID)


@pytest.mark.usefixtures("feed_without_pause")
def test_an_api_goes_on_with_a_server_that_was_restarted(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_bound("jwt")
    elsewhere("local")
    api = Api()
    phone, laptop = (site.bound(name).access for name in ("phone", "laptop"))
    site.revoke(phone)
    assert [api.call(token).status for token in (phone, laptop)] == [401, 200]

    monkeypatch.setattr(revocation_feed, "_kept", revocation_feed._Kept())
    site.revoke(laptop)
    time.sleep(INTERVAL)

    assert [api.call(token).status for token in (phone, laptop)] == [401, 401]


def test_an_opaque_token(elsewhere: Callable[..., None], make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    elsewhere("local+introspection")
    api = Api()
    phone, laptop = site.bound("phone"), site.bound("laptop")
    assert [api.call(token.access).status for token in (phone, laptop)] == [200, 200]

    site.revoke(phone.access)
    expire(laptop.access)
    time.sleep(INTERVAL)

    assert [api.call(token.access).status for token in (phone, laptop)] == [401, 401]


@pytest.mark.parametrize("validation", ["introspection", "local+introspection"])
def test_a_refresh_token_is_no_access_token(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], validation: str
) -> None:
    """Not even one of the API's own application, which introspection calls active."""
    site = make_bound()
    answer = site.bound("phone")
    elsewhere(validation, CLIENT_ID=site.application.client_id, CLIENT_SECRET=site.secret)

    assert site.introspect(answer.refresh)["active"] is True
    assert Api().call(answer.access).status == 200
    assert Api().call(answer.refresh).status == 401


def test_an_id_token_is_no_access_token(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], validation: str
) -> None:
    site = make_bound("jwt", "authorization_code")
    answer = site.bound("phone", scope="openid read")
    elsewhere(validation)

    assert Api().call(answer.access).status == 200
    assert Api().call(answer["id_token"]).status == 401


def test_a_token_of_a_client_has_no_user(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], validation: str
) -> None:
    site = make_bound("jwt", "client_credentials", as_user=None)
    token = site.bound("backend").access
    elsewhere(validation)

    assert Api().call(token).data["user"] is None
    assert Api().call(token, "/for-users/").status in (401, 403)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_sender_constrained_token(
    elsewhere: Callable[..., None],
    here: Callable[[], None],
    make_bound: Callable[..., Site],
    validation: str,
    token_type: str,
) -> None:
    """Its key opens the API in both projects, and the token alone neither; each has nonces of its own."""
    if (token_type, validation) == ("opaque", "local"):
        pytest.skip("opaque tokens have to be introspected")
    site, key, api = make_bound(token_type), DeviceKey(), Api()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    proof = key.proof("POST", "/oauth2/token/")
    answer = site.post("/oauth2/token/", site.grant(tokenBindingId="phone"), headers={"DPoP": proof})
    assert (answer.status, answer["token_type"]) == (200, "DPoP")

    def ask_all() -> list[Any]:
        return [
            attempt
            for path in ("/me/", "/plain/", "/bound/", "/constrained/", "/plain-constrained/")
            for attempt in (
                api.prove(key, answer.access, path),
                api.call(answer.access, path),
                api.prove(DeviceKey(), answer.access, path),
                api.call(None, path, Authorization=f"DPoP {answer.access}"),
            )
        ]

    expected = ask_all()
    elsewhere(validation)
    found = ask_all()

    assert [attempt.status for attempt in found] == [200, 401, 401, 401] * 5
    assert [attempt.status for attempt in expected] == [attempt.status for attempt in found]
    assert [attempt.data for attempt in found[::4]] == [attempt.data for attempt in expected[::4]]
    assert found[0].data["confirmation"] == f"jkt:{key.thumbprint}"

    elsewhere(validation, DPOP_NONCES=True)
    refused = api.prove(key, answer.access)
    assert (refused.status, api.prove(key, answer.access, nonce=refused.nonce).status) == (401, 200)
    here()
    assert api.prove(key, answer.access).status == 200


def test_resources(elsewhere: Callable[..., None], make_bound: Callable[..., Site], validation: str) -> None:
    """A token that was asked for on behalf of another API is not for this one (RFC 8707)."""
    site = make_bound("jwt")
    token = site.bound("phone", resource="https://orders.example").access
    elsewhere(validation)
    assert Api().call(token).status == 401

    elsewhere(validation, AUDIENCE=["https://orders.example", "https://other.example"])
    assert Api().call(token).status == 200


def test_wrong_credentials(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    token = make_bound().bound("phone").access
    elsewhere("introspection", CLIENT_SECRET="wrong")

    assert Api().call(token).status == 503
    assert "does not accept CLIENT_ID and CLIENT_SECRET" in caplog.text
    assert "wrong" not in caplog.text


def test_a_server_without_a_feed(
    elsewhere: Callable[..., None], make_bound: Callable[..., Site], settings: Any
) -> None:
    token = make_bound("jwt").bound("phone").access
    elsewhere("local")
    settings.OAUTH_BINDING = {}

    assert Api().call(token).status == 503


def with_metadata(challenge: str) -> str:
    metadata = 'resource_metadata="http://testserver/.well-known/oauth-protected-resource"'
    return f"{challenge.removesuffix(OFFER)},{metadata}{OFFER}"
