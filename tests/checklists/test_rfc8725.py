"""RFC 8725, points that no other part of the suite shows: the doors of the server that read JWTs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings

from oauth_binding.models import TokenExchangeRule
from tests.helpers.client import SECRET, Answer, Site, public_key
from tests.helpers.exchange import ID_TOKEN, JWT, allow, exchange
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.provider import provider
from tests.helpers.signed_tokens import base64url, encoded

#: Long enough for HS256 (RFC 7518 section 3.2).
LONG_SECRET = SECRET * 2

#: Whom DOT's class for Django REST framework lets in with an ID token.
OF_TOOLKIT = "tests.resource_server.apis"


def claims_of(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def shared_key_client(make_site: Callable[..., Site]) -> Site:
    """Return a client whose ID tokens are signed with its secret, and which exchanges its own tokens."""
    site = make_site(
        "authorization_code",
        algorithm="HS256",
        client_secret=LONG_SECRET,
        additional_grant_types="token-exchange",
    )
    site.secret = LONG_SECRET
    allow(site, site)
    return site


def forge(claims: dict[str, Any], secret: str = LONG_SECRET, **header: Any) -> str:
    text: str = jwt.api_jws.encode(json.dumps(claims).encode(), secret, "HS256", header)
    return text


def as_subject(client: Site, text: str, token_type: str = ID_TOKEN) -> Answer:
    return exchange(client, text, subject_token_type=token_type)


def at_the_toolkits_api(text: str) -> str:
    """Return whom an API that may be anonymous takes a request for."""
    pytest.importorskip("rest_framework")
    with override_settings(ROOT_URLCONF=OF_TOOLKIT):
        response = Client().get("/drf/toolkit/", headers={"Authorization": f"Bearer {text}"})
    assert response.status_code in {200, 401}
    return str(response.json().get("user", ""))


def as_logout_hint(text: str, browser: Client) -> int:
    """Return the status of a logout with an ID token; 302 where it takes the place of a confirmation."""
    entries = {"OIDC_RP_INITIATED_LOGOUT_ENABLED": True, "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False}
    with provider(**entries):
        return browser.get(f"/oauth2/logout/?{urlencode({'id_token_hint': text})}").status_code


def assert_refused(client: Site, text: str) -> None:
    assert client.user is not None
    answer = as_subject(client, text)
    assert (answer.status, answer["error"]) == (400, "invalid_grant")
    assert at_the_toolkits_api(text) == ""
    assert as_logout_hint(text, signed_in(client.user)) == 400


def test_an_id_token_opens_the_doors_that_are_for_it(make_site: Callable[..., Site], user: User) -> None:
    for client in (shared_key_client(make_site), make_site("authorization_code")):
        browser = signed_in(user)
        text = login(client, browser)["id_token"]

        assert at_the_toolkits_api(text) == "alice"
        assert as_logout_hint(text, browser) == 302


# Section 3.1 and 3.2: the algorithm is that of the application


def test_the_public_key_is_no_secret(make_site: Callable[..., Site]) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    client = make_site("authorization_code", additional_grant_types="token-exchange")
    allow(client, client)
    text = client.token(scope="openid read")["id_token"]
    pem = public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": jwt.get_unverified_header(text)["kid"]}
    signed = f"{encoded(header)}.{text.split('.')[1]}"
    hmac: Any = jwt.get_algorithm_by_name("HS256")

    assert_refused(client, f"{signed}.{base64url(hmac.sign(signed.encode(), pem))}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "ES256", "RS512"])
def test_an_unsigned_id_token_is_none(make_site: Callable[..., Site], algorithm: str) -> None:
    client = make_site("authorization_code", additional_grant_types="token-exchange")
    allow(client, client)
    text = client.token(scope="openid read")["id_token"]
    _header, payload, signature = text.split(".")

    for tail in ("", signature):
        assert_refused(client, f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{payload}.{tail}")


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_an_id_token_brings_is_not_used(make_site: Callable[..., Site], name: str) -> None:
    client = shared_key_client(make_site)
    claims = claims_of(client.token(scope="openid read")["id_token"])
    key = {"kty": "oct", "k": base64url(b"of the attacker" * 4)}
    values = {"jwk": key, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5", "x5c": ["eA"]}

    assert_refused(client, forge(claims, "of the attacker" * 4, **{name: values[name]}))


# Section 3.4: what goes into an operation


def test_a_point_that_is_not_on_the_curve_is_no_key(make_site: Callable[..., Site]) -> None:
    """One of another server's keys, in its JWK set."""
    client = make_site(additional_grant_types="token-exchange")
    issuer = "https://idp.example"
    TokenExchangeRule.objects.create(
        client=client.application, subject_issuer=issuer, impersonation=True, subject_client=None
    )
    key = ec.generate_private_key(ec.SECP256R1())
    good = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "one"}
    now = int(time.time())
    claims = {"iss": issuer, "sub": "alice", "aud": "here", "iat": now, "exp": now + 60}
    text = jwt.encode(claims, key, "ES256", {"kid": "one"})

    for jwk, status in ((good, 200), ({**good, "y": good["x"]}, 400), ({**good, "x": "", "y": ""}, 400)):
        options = {"KEYS": {"keys": [jwk]}, "AUDIENCE": "here", "ALGORITHMS": ["ES256"], "TYPES": ["JWT"]}
        with override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_ISSUERS": {issuer: options}}):
            assert as_subject(client, text, JWT).status == status


# Section 3.5: keys


@pytest.mark.parametrize("secret", ["", "x", "correct horse battery staple", "\u00e4" * 15])
def test_a_secret_that_is_too_short_signs_nothing(make_site: Callable[..., Site], secret: str) -> None:
    client = make_site("authorization_code", algorithm="HS256", client_secret=secret, client_type="public")
    form = {**client.authorization_code(scope="openid read"), "client_id": client.application.client_id}

    answer = client.post("/oauth2/token/", form, authenticate=False)

    assert (answer.status, answer["error"]) == (503, "server_error")
    assert answer["error_description"] == "ID tokens are not set up for this client."
    type(client.application).objects.update(client_secret=LONG_SECRET)
    assert client.post("/oauth2/token/", form, authenticate=False).status == 200


# Section 3.8: a key speaks for its own application, about its own tokens


def test_a_client_does_not_sign_in_the_name_of_another(make_site: Callable[..., Site]) -> None:
    """It knows the key, and the jti of an ID token that another client has got."""
    other, client = make_site("authorization_code"), shared_key_client(make_site)
    allow(client, other)
    theirs = claims_of(other.token(scope="openid read")["id_token"])
    own = claims_of(client.token(scope="openid read")["id_token"])

    assert_refused(client, forge({**own, "jti": theirs["jti"]}))
    assert_refused(client, forge({**own, "jti": theirs["jti"], "aud": [own["aud"], theirs["aud"]]}))


def test_a_client_does_not_prolong_its_id_tokens(make_site: Callable[..., Site]) -> None:
    client = shared_key_client(make_site)
    with provider(ID_TOKEN_EXPIRE_SECONDS=-1):
        claims = claims_of(client.token(scope="openid read")["id_token"])
    text = forge({**claims, "exp": int(time.time()) + 600})

    assert as_subject(client, text)["error"] == "invalid_grant"
    assert at_the_toolkits_api(text) == ""


JUNK = [None, "", "x", 5, True, [], ["a"], {"a": 1}, str(uuid.UUID(int=1)), "a\x00", "\ud800", "9" * 5000]


@pytest.mark.parametrize("name", ["jti", "aud"])
@pytest.mark.parametrize("value", JUNK, ids=repr)
def test_junk_that_has_a_right_signature(make_site: Callable[..., Site], name: str, value: Any) -> None:
    client = shared_key_client(make_site)
    claims = claims_of(client.token(scope="openid read")["id_token"])

    assert_refused(client, forge({**claims, name: value}))


@pytest.mark.parametrize(
    "payload", [b"x", b"\xff", b"5", b"[]", b"null", b"{}", b"[" * 5000, b'{"aud":"a"', b""]
)
def test_payloads_that_are_no_claims(make_site: Callable[..., Site], payload: bytes) -> None:
    client = shared_key_client(make_site)
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{base64url(payload)}"
    hmac: Any = jwt.get_algorithm_by_name("HS256")

    assert_refused(client, f"{signed}.{base64url(hmac.sign(signed.encode(), LONG_SECRET.encode()))}")


# Sections 3.11 and 3.12: one kind is not another


def test_a_jwt_access_token_is_no_id_token(make_site: Callable[..., Site]) -> None:
    """Not even one whose audience is a client."""
    front = make_site()
    back = make_site(token_type="jwt", additional_grant_types="token-exchange")
    for source in (front, back):
        allow(back, source, audiences=back.application.client_id)
    text = exchange(back, front.token().access, audience=back.application.client_id).access
    assert claims_of(text)["aud"] == back.application.client_id

    assert as_subject(back, text)["error"] == "invalid_grant"
    assert back.user is not None
    assert as_logout_hint(text, signed_in(back.user)) == 400


def test_an_id_token_or_a_feed_is_no_access_token(make_site: Callable[..., Site]) -> None:
    client = make_site("authorization_code", token_type="jwt", additional_grant_types="token-exchange")
    allow(client, client)
    id_token = client.token(scope="openid read")["id_token"]
    feed = Client().get("/oauth2/revoked-tokens/").content.decode()
    assert feed.count(".") == 2

    for text in (id_token, feed):
        assert client.api(text) == 401
        assert not client.active(text)
        assert as_subject(client, text, JWT)["error"] == "invalid_grant"
    assert as_subject(client, feed)["error"] == "invalid_grant"


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "JWT", "revoked-tokens+jwt"])
def test_another_kind_of_jwt_is_no_access_token(make_site: Callable[..., Site], kind: str) -> None:
    """Even with the claims, the audience and the signature of one, there is no row of it."""
    site = make_site(token_type="jwt")
    claims = site.token().claims
    text = jwt.encode(claims, str(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]), "RS256", {"typ": kind})

    assert site.api(text) == 401
    assert not site.active(text)
