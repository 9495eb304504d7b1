"""OpenID Connect: the ID token belongs to the access token that is answered."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from oauth2_provider.models import get_id_token_model

from oauth_binding.authorization_server.issuing import save as issuing
from oauth_binding.authorization_server.toolkit import validator as toolkit
from tests.helpers.client import GRANTS, Answer, Site, verify_jwt
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

TOKEN_TYPES = ("opaque", "jwt")


def at_hash(token: str) -> str:
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def assert_belongs(answer: Answer) -> None:
    assert verify_jwt(answer["id_token"])["at_hash"] == at_hash(answer.access)


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("redacted", [True, False])
def test_at_hash_matches_also_when_the_token_is_reused(
    make_site: Callable[..., Site], redacted: bool, token_type: str, binding_type: str
) -> None:
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=redacted):
        site = make_site("authorization_code", token_type=token_type, token_binding_type=binding_type)
        first = site.bound("phone", scope="openid read")
        second = site.bound("phone", scope="openid read")
        assert first["id_token"] != second["id_token"]
        assert (first.access == second.access) is (
            token_type == "opaque" and binding_type == "client-request"
        )
        for answer in (first, second):
            assert_belongs(answer)
        refreshed = site.refresh(second.refresh)
        assert_belongs(refreshed)


def test_nonce_and_subject_are_in_the_id_token(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt", "authorization_code")
    form = site.authorization_code(scope="openid read", nonce="n-0S6")
    answer = site.post("/oauth2/token/", {**form, "tokenBindingId": "phone"})
    id_token = verify_jwt(answer["id_token"])
    assert id_token["nonce"] == "n-0S6"
    assert id_token["sub"] == answer.claims["sub"]
    assert access_token_row(answer.access).id_token.jti.hex == id_token["jti"].replace("-", "")


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_replay_within_the_grace_period_gets_an_id_token_of_its_own(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type, "authorization_code")
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        old = site.bound("phone", scope="openid read")
        for _ in range(2):
            assert_belongs(site.refresh(old.refresh))


def test_a_request_that_is_overtaken_signs_its_id_token_again(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between planning and saving, another request of the same device takes the slot."""
    site = make_bound("opaque", "authorization_code")
    rival_form = [*site.grant(scope="openid read"), ("tokenBindingId", "phone")]
    rivals: list[Answer] = []
    save = issuing.save_token

    def overtaken(*arguments: Any) -> None:
        if not rivals:
            rivals.append(Answer(0, {}, {}))
            rivals[0] = site.post("/oauth2/token/", rival_form)
        save(*arguments)

    monkeypatch.setattr(toolkit, "save_token", overtaken)
    answer = site.bound("phone", scope="openid read")

    assert answer.status == rivals[0].status == 200
    assert answer.access == rivals[0].access
    assert answer.refresh == rivals[0].refresh
    assert_belongs(answer)
    assert_belongs(rivals[0])
    # The ID token that was signed first, and never answered, is forgotten.
    assert get_id_token_model().objects.count() == 2


@pytest.mark.parametrize("grant_type", GRANTS)
def test_which_grants_answer_an_id_token(make_bound: Callable[..., Site], grant_type: str) -> None:
    """The authorization code grant does, and every refresh."""
    site = make_bound("opaque", grant_type)

    answer = site.bound("phone", scope="openid read")

    assert answer["scope"] == "openid read"
    assert ("id_token" in answer.data) is (grant_type == "authorization_code")
    if "refresh_token" in answer.data:
        assert_belongs(site.refresh(answer.refresh))
    else:
        assert grant_type == "client_credentials"


def test_a_token_exchange_answers_none(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque", "authorization_code", additional_grant_types="token-exchange")
    allow(site, site)

    answer = exchange(site, site.bound("phone", scope="openid read").access, tokenBindingId="laptop")

    assert set(answer["scope"].split()) == {"openid", "read"}
    assert "id_token" not in answer.data
