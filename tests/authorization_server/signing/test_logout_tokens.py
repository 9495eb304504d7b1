"""Logout tokens, as the applications that get them validate them (Back-Channel Logout 1.0 section 2.6)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey
from joserfc.jwt import JWTClaimsRegistry, Token

from tests.helpers.client import SECRET, Site
from tests.helpers.exchange import ACCESS_TOKEN, ID_TOKEN, JWT, allow, exchange
from tests.helpers.logouts import (
    ISSUER,
    THIS_MACHINE,
    log_out,
    relying_party,
    send_logouts,
    wait_for_next_attempt,
)
from tests.helpers.provider import provider

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture(autouse=True)
def _on_this_machine(settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, **THIS_MACHINE}


def validate(text: str, keys: Any, algorithm: str, client_id: str) -> Token:
    """Validate a logout token in the order of section 2.6, by the code of Authlib's authors."""
    token = jwt.decode(text, keys, algorithms=[algorithm])
    assert token.header["typ"] == "logout+jwt"
    JWTClaimsRegistry(
        leeway=0,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": client_id},
        iat={"essential": True},
        exp={"essential": True},
        jti={"essential": True},
    ).validate(token.claims)
    assert token.claims["sub"] or token.claims["sid"]
    assert token.claims["events"] == {EVENT: {}}
    assert "nonce" not in token.claims
    return token


def published_keys() -> KeySet:
    return KeySet.import_key_set(Client().get("/oauth2/.well-known/jwks.json").json())


def test_it_is_signed_with_the_published_key(make_site: Callable[..., Site], user: User) -> None:
    with relying_party() as party:
        application = make_site("authorization_code", backchannel_logout_uri=party.uri).application
        (session,) = log_out(user, [application])
        assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."

    (text,) = party.tokens
    token = validate(text, published_keys(), "RS256", application.client_id)
    assert token.header["kid"]
    assert token.claims["sid"] == str(session.sid)
    assert token.claims["sub"] == str(user.pk)
    assert token.claims["exp"] - token.claims["iat"] == 120
    assert abs(token.claims["iat"] - time.time()) < 60


def test_it_is_signed_with_the_secret_of_the_application(make_site: Callable[..., Site], user: User) -> None:
    secret = SECRET * 2
    with relying_party() as party:
        fields = {"algorithm": "HS256", "client_secret": secret, "backchannel_logout_uri": party.uri}
        application = make_site("authorization_code", **fields).application
        log_out(user, [application])
        send_logouts()

    token = validate(party.tokens[0], OctKey.import_key(secret), "HS256", application.client_id)
    assert "kid" not in token.header


def test_it_is_signed_as_the_id_token_of_the_same_application(
    make_site: Callable[..., Site], user: User
) -> None:
    with relying_party() as party:
        site = make_site("authorization_code", backchannel_logout_uri=party.uri)
        id_token = jwt.decode(site.token(scope="openid")["id_token"], published_keys(), algorithms=["RS256"])
        log_out(user, [site.application])
        send_logouts()

    token = validate(party.tokens[0], published_keys(), "RS256", site.application.client_id)
    assert (token.header["alg"], token.header["kid"]) == (id_token.header["alg"], id_token.header["kid"])
    assert token.claims["iss"] == id_token.claims["iss"]
    assert token.claims["aud"] == id_token.claims["aud"]
    assert token.claims["sub"] == id_token.claims["sub"]
    # Neither can be taken for the other.
    assert id_token.header["typ"] != token.header["typ"]


def test_it_is_made_anew_for_each_attempt_and_keeps_its_jti(
    make_site: Callable[..., Site], user: User
) -> None:
    with relying_party(503, 200) as party:
        application = make_site("authorization_code", backchannel_logout_uri=party.uri).application
        log_out(user, [application])
        send_logouts()
        time.sleep(1)  # as iat has whole seconds
        wait_for_next_attempt()
        send_logouts()

    first, second = (
        validate(text, published_keys(), "RS256", application.client_id) for text in party.tokens
    )
    assert first.claims["jti"] == second.claims["jti"]
    assert first.claims["iat"] < second.claims["iat"]
    assert first.claims["exp"] < second.claims["exp"]


def test_none_of_the_servers_doors_takes_it(make_site: Callable[..., Site], user: User) -> None:
    with relying_party() as party:
        site = make_site("authorization_code", backchannel_logout_uri=party.uri)
        site.token(scope="openid read")  # so that there is a login that it could stand for
        log_out(user, [site.application])
        send_logouts()
    (token,) = party.tokens
    bearer = {"Authorization": f"Bearer {token}"}

    assert site.api(token) == 401
    assert not site.active(token)
    assert site.http.get("/oauth2/userinfo/", headers=bearer).status_code == 401
    with provider(OIDC_RP_INITIATED_LOGOUT_ENABLED=True):
        assert site.http.get("/oauth2/logout/", {"id_token_hint": token}).status_code == 400
    exchanging = make_site("token-exchange")
    allow(exchanging, site)
    for kind in (ACCESS_TOKEN, ID_TOKEN, JWT):
        assert exchange(exchanging, token, subject_token_type=kind).status == 400
