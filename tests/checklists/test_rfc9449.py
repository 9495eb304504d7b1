"""RFC 9449, points that no other part of the suite shows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from oauth_binding.models import TokenPolicy
from tests.helpers.client import Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider

TOKEN = "/oauth2/token/"


@pytest.fixture
def device(make_site: Callable[..., Site]) -> Site:
    """A device with a key, whose application is one of a page in a browser."""
    site = make_site("authorization_code", allowed_origins="https://app.example", token_type="jwt")
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    site.key = DeviceKey()
    return site


def nonces() -> override_settings:
    return override_settings(OAUTH_BINDING={**settings.OAUTH_BINDING, "DPOP_NONCES": "everywhere"})


# Sections 5.1 and 6.2: what is said


def test_the_metadata_says_which_algorithms_there_are(db: None) -> None:
    for name in ("oauth-authorization-server", "openid-configuration"):
        document = Client().get(f"/oauth2/.well-known/{name}").json()
        assert document["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA", "PS256"]
        with override_settings(OAUTH_BINDING={"DPOP_ALGORITHMS": ["ES256", "RS256"]}):
            document = Client().get(f"/oauth2/.well-known/{name}").json()
        assert document["dpop_signing_alg_values_supported"] == ["ES256", "RS256"]


def test_introspection_says_the_key_and_the_type(device: Site, make_site: Callable[..., Site]) -> None:
    assert device.key is not None

    said = make_site().introspect(device.token().access)

    assert (said["cnf"], said["token_type"]) == ({"jkt": device.key.thumbprint}, "DPoP")


# Section 8: browsers and caches


def test_a_script_may_read_the_nonce(device: Site) -> None:
    form = {**device.authorization_code(), "client_id": device.application.client_id}
    origin = {"Origin": "https://app.example"}

    with nonces():
        refused = device.post(TOKEN, form, headers=origin)
        assert device.key is not None
        nonce = refused.headers["DPoP-Nonce"]
        proof = {"DPoP": device.key.proof("POST", TOKEN, nonce=nonce)}
        answered = device.post(TOKEN, form, headers={**origin, **proof})
        of_others = device.post(TOKEN, form, headers={"Origin": "https://evil.example"})

    assert (refused["error"], answered.status) == ("use_dpop_nonce", 200)
    for answer in (refused, answered):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer.headers["Access-Control-Expose-Headers"] == "DPoP-Nonce"
    assert not [name for name in of_others.headers if name.startswith("Access-Control-")]


#: APIs of each kind, as far as they are in this environment.
APIS = ["/plain/", "/oauth2/userinfo/", *(["/api/me/"] if find_spec("rest_framework") else [])]


@pytest.mark.parametrize("path", APIS)
def test_an_answer_with_a_nonce_is_not_stored(device: Site, path: str) -> None:
    assert device.key is not None
    token = device.token(scope="openid read").access
    client = Client()

    with override_settings(ROOT_URLCONF="tests.ended.urls"):
        before = client.get(path, headers=device.key.headers("GET", path, token))
        with nonces():
            refused = client.get(path, headers=device.key.headers("GET", path, token))
            nonce = refused["DPoP-Nonce"]
            answered = client.get(path, headers=device.key.headers("GET", path, token, nonce=nonce))

    assert [response.status_code for response in (before, refused, answered)] == [200, 401, 200]
    assert "DPoP-Nonce" not in before
    for response in (refused, answered):
        assert response["DPoP-Nonce"]
        assert response["Cache-Control"] == "no-store"


# Section 11.2


def test_how_long_a_constrained_token_lives_is_a_setting(device: Site) -> None:
    with provider(ACCESS_TOKEN_EXPIRE_SECONDS=300):
        answer = device.token()

    assert answer["expires_in"] == 300
    assert answer.claims["exp"] <= timezone.now().timestamp() + 300
