"""Client libraries that know nothing of this app, against a server behind a socket.

They send ``tokenBindingId`` as they send any parameter that they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import requests_oauthlib
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from oauthlib.oauth2 import BackendApplicationClient, LegacyApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauth2client import BearerToken, InvalidGrant, InvalidScope, InvalidTarget, OAuth2Client

from tests.helpers.client import PASSWORD, SECRET, Site, is_jwt, verify_jwt
from tests.helpers.exchange import allow

TOKEN, INTROSPECT, REVOKE = "/oauth2/token/", "/oauth2/introspect/", "/oauth2/revoke_token/"


class RequestsOAuthlib:
    """A device whose software uses requests-oauthlib, and plain requests for what that library leaves out."""

    def __init__(self, site: Site, url: str) -> None:
        kind = LegacyApplicationClient if site.user else BackendApplicationClient
        self.session = requests_oauthlib.OAuth2Session(client=kind(site.application.client_id))
        self.client = {"auth": HTTPBasicAuth(site.application.client_id, SECRET)}
        self.user = {"username": site.user.username, "password": PASSWORD} if site.user else {}
        self.url = url

    def request_token(self, **extra: str) -> dict[str, Any]:
        token: dict[str, Any] = self.session.fetch_token(
            self.url + TOKEN, **self.client, **self.user, **extra
        )
        return token

    def refresh(self, **extra: str) -> dict[str, Any]:
        token: dict[str, Any] = self.session.refresh_token(self.url + TOKEN, **self.client, **extra)
        return token

    def introspect(self) -> dict[str, Any]:
        form = {"token": self.session.token["access_token"]}
        answer: dict[str, Any] = self.session.post(
            self.url + INTROSPECT, form, **self.client, withhold_token=True
        ).json()
        return answer

    def revoke(self) -> None:
        form = {"token": self.session.token["access_token"]}
        answer = self.session.post(self.url + REVOKE, form, **self.client, withhold_token=True)
        answer.raise_for_status()


class Authlib:
    """A device whose software uses Authlib."""

    def __init__(self, site: Site, url: str) -> None:
        self.session = OAuth2Session(site.application.client_id, SECRET)
        self.user = {"username": site.user.username, "password": PASSWORD} if site.user else {}
        self.url = url

    def request_token(self, **extra: str) -> dict[str, Any]:
        token: dict[str, Any] = self.session.fetch_token(self.url + TOKEN, **self.user, **extra)
        return token

    def refresh(self, **extra: str) -> dict[str, Any]:
        token: dict[str, Any] = self.session.refresh_token(self.url + TOKEN, **extra)
        return token

    def introspect(self) -> dict[str, Any]:
        token = self.session.token["access_token"]
        answer: dict[str, Any] = self.session.introspect_token(self.url + INTROSPECT, token).json()
        return answer

    def revoke(self) -> None:
        token = self.session.token["access_token"]
        self.session.revoke_token(self.url + REVOKE, token).raise_for_status()


Device = RequestsOAuthlib | Authlib


@pytest.fixture(params=[RequestsOAuthlib, Authlib])
def device(
    request: pytest.FixtureRequest, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Site], Device]]:
    """Return a factory of devices with a session of their own, for one library after the other."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    with ExitStack() as sessions:

        def make(site: Site) -> Device:
            made: Device = request.param(site, live_server.url)
            sessions.enter_context(made.session)
            return made

        yield make


def calls_api(device: Device) -> bool:
    """Return whether the API takes the token that the device's session has and sends by itself."""
    status = device.session.get(device.url + "/api/me/").status_code
    assert status in (200, 401)
    return bool(status == 200)


def test_opaque_tokens(device: Callable[..., Device], make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")
    phone, laptop = device(site), device(site)
    first = phone.request_token(tokenBindingId="phone")
    other = laptop.request_token(tokenBindingId="laptop")
    again = phone.request_token(tokenBindingId="phone")
    assert first["access_token"] == again["access_token"] != other["access_token"]
    assert first["refresh_token"] == again["refresh_token"] != other["refresh_token"]
    assert calls_api(phone)
    assert calls_api(laptop)


def test_jwts(device: Callable[..., Device], make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    phone, laptop, restarted_phone = device(site), device(site), device(site)
    tokens = [
        phone.request_token(tokenBindingId="phone"),
        laptop.request_token(tokenBindingId="laptop"),
        restarted_phone.request_token(tokenBindingId="phone"),
    ]
    claims = [verify_jwt(token["access_token"]) for token in tokens]
    assert claims[0]["binding_ref"] == claims[2]["binding_ref"] != claims[1]["binding_ref"]
    assert [calls_api(each) for each in (phone, laptop, restarted_phone)] == [False, True, True]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("extra", [{}, {"tokenBindingId": "phone"}], ids=["silent", "naming the binding"])
def test_refresh(
    device: Callable[..., Device], make_bound: Callable[..., Site], token_type: str, extra: dict[str, str]
) -> None:
    site = make_bound(token_type)
    phone, laptop = device(site), device(site)
    old = phone.request_token(tokenBindingId="phone")
    laptop.request_token(tokenBindingId="laptop")
    before = phone.introspect()
    new = phone.refresh(**extra)
    assert new["access_token"] != old["access_token"]
    assert is_jwt(new["access_token"]) is (token_type == "jwt")
    assert phone.introspect()["binding_ref"] == before["binding_ref"]
    assert calls_api(phone)
    assert calls_api(laptop)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_introspection_and_revocation(
    device: Callable[..., Device], make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    phone, laptop = device(site), device(site)
    phone.request_token(tokenBindingId="phone")
    laptop.request_token(tokenBindingId="laptop")
    assert phone.introspect()["binding_type"] == "client-request"
    assert phone.introspect()["binding_ref"] != laptop.introspect()["binding_ref"]
    phone.revoke()
    assert phone.introspect() == {"active": False}
    assert not calls_api(phone)
    assert laptop.introspect()["active"]
    assert calls_api(laptop)


def test_client_credentials(device: Callable[..., Device], make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque", "client_credentials", as_user=None)
    one, two = device(site), device(site)
    first = one.request_token(tokenBindingId="one")
    assert one.request_token(tokenBindingId="one")["access_token"] == first["access_token"]
    assert two.request_token(tokenBindingId="two")["access_token"] != first["access_token"]
    assert one.introspect()["sub"] == site.application.client_id
    assert "username" not in one.introspect()


def test_refused_request(device: Callable[..., Device], make_bound: Callable[..., Site]) -> None:
    phone = device(make_bound())
    with pytest.raises((OAuth2Error, OAuthError)) as refused:
        phone.request_token(tokenBindingId="x" * 256)
    assert refused.value.error == "invalid_request"
    assert "tokenBindingId" in refused.value.description


def test_refused_refresh(device: Callable[..., Device], make_bound: Callable[..., Site]) -> None:
    phone = device(make_bound())
    phone.request_token(tokenBindingId="phone")
    with pytest.raises((OAuth2Error, OAuthError)) as refused:
        phone.refresh(tokenBindingId="laptop")
    assert refused.value.error == "invalid_grant"
    assert "tokenBindingId" in refused.value.description
    assert calls_api(phone)


class TestTokenExchange:
    """A backend whose software uses requests_oauth2client, which knows RFC 8693."""

    @pytest.fixture
    def mobile(self, make_bound: Callable[..., Site]) -> Site:
        return make_bound("opaque", name="Mobile app")

    @pytest.fixture(params=["opaque", "jwt"])
    def backend(self, request: pytest.FixtureRequest, make_bound: Callable[..., Site], mobile: Site) -> Site:
        fields = {"as_user": None, "additional_grant_types": "token-exchange"}
        backend = make_bound(request.param, "client_credentials", **fields)
        allow(backend, mobile, delegation=True)
        return backend

    @pytest.fixture
    def client(self, backend: Site, live_server: Any) -> Iterator[OAuth2Client]:
        url = live_server.url
        with requests.Session() as session:
            yield OAuth2Client(
                url + TOKEN,
                client_id=backend.application.client_id,
                client_secret=SECRET,
                introspection_endpoint=url + INTROSPECT,
                revocation_endpoint=url + REVOKE,
                session=session,
                testing=True,  # without TLS
            )

    def test_impersonation(self, client: OAuth2Client, backend: Site, mobile: Site) -> None:
        subject = BearerToken(mobile.bound("phone").access)

        token = client.token_exchange(subject_token=subject, scope="read")

        assert token.scope == "read"
        assert token.expires_in is not None
        assert token.expires_in > 3500
        assert is_jwt(token.access_token) is (backend.application.token_type == "jwt")
        found = client.introspect_token(token)
        assert (found["username"], found["client_id"]) == ("alice", client.client_id)
        assert "act" not in found

    def test_delegation(self, client: OAuth2Client, mobile: Site) -> None:
        subject, actor = BearerToken(mobile.bound("phone").access), client.client_credentials()

        token = client.token_exchange(subject_token=subject, actor_token=actor)

        assert client.introspect_token(token)["act"]["client_id"] == client.client_id

    def test_a_token_for_each_id(self, client: OAuth2Client, backend: Site, mobile: Site) -> None:
        subject = BearerToken(mobile.bound("phone").access)

        one, two, again = (
            client.token_exchange(subject_token=subject, tokenBindingId=name) for name in ("1", "2", "1")
        )

        is_opaque = backend.application.token_type == "opaque"
        assert (one.access_token == again.access_token) is is_opaque
        active = [client.introspect_token(token)["active"] for token in (one, two, again)]
        assert active == [is_opaque, True, True]

    def test_revocation(self, client: OAuth2Client, mobile: Site) -> None:
        subject = mobile.bound("phone").access
        token = client.token_exchange(subject_token=BearerToken(subject))

        assert client.revoke_access_token(token)

        assert not client.introspect_token(token)["active"]
        assert mobile.active(subject)

    def test_errors(self, client: OAuth2Client, mobile: Site) -> None:
        subject = BearerToken(mobile.bound("phone", scope="read").access)

        with pytest.raises(InvalidGrant, match="subject_token"):
            client.token_exchange(subject_token="junk", subject_token_type="access_token")
        with pytest.raises(InvalidGrant, match="actor_token"):
            client.token_exchange(subject_token=subject, actor_token=subject)
        with pytest.raises(InvalidScope):
            client.token_exchange(subject_token=subject, scope="write")
        with pytest.raises(InvalidTarget, match="audience"):
            client.token_exchange(subject_token=subject, audience="https://elsewhere.example")
