"""Tokens redacted at rest (COMPLIANT_BCP_RFC9700_TOKEN_STORAGE): everything holds, reuse included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core import serializers
from django.core.management.utils import get_random_secret_key
from django.test import override_settings
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding
from tests.helpers.client import GRANTS, Answer, Site, is_jwt
from tests.helpers.provider import provider
from tests.helpers.rows import expire, refresh_token_row

TOKEN_TYPES = ("opaque", "jwt")


@pytest.fixture(autouse=True)
def _redacted() -> Iterator[None]:
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True):
        yield


def everything_stored() -> str:
    models: list[Any] = [get_access_token_model(), get_refresh_token_model(), TokenBinding]
    return "\n".join(serializers.serialize("json", model.objects.all()) for model in models)


@pytest.mark.parametrize("binding", [None, "phone"])
@pytest.mark.parametrize("grant_type", GRANTS)
def test_an_opaque_token_is_reused(
    make_bound: Callable[..., Site], grant_type: str, binding: str | None
) -> None:
    site = make_bound("opaque", grant_type)
    other = site.bound("laptop")
    first, second = site.bound(binding), site.bound(binding)
    assert first.access == second.access
    assert first.data.get("refresh_token") == second.data.get("refresh_token")
    assert other.access != first.access
    assert all(site.active(answer.access) for answer in (first, other))


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_no_token_is_in_the_database(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    first = site.bound("phone")
    again = site.bound("phone")
    refreshed = site.refresh(again.refresh)
    stored = everything_stored()
    for answer in (first, again, refreshed):
        assert answer.access not in stored
        assert answer.refresh not in stored
    columns = [*get_access_token_model().objects.all(), *get_refresh_token_model().objects.all()]
    assert {row.token for row in columns} == {""}


def test_the_seed_alone_gives_no_token(make_bound: Callable[..., Site]) -> None:
    """Whoever has the database but not SECRET_KEY can't derive what it holds."""
    site = make_bound()
    first = site.bound("phone")
    with override_settings(SECRET_KEY=get_random_secret_key(), SECRET_KEY_FALLBACKS=[]):
        second = site.bound("phone")
    assert second.access != first.access


def test_reuse_survives_a_rotation_of_the_secret_key(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    old_key = settings.SECRET_KEY
    first = site.bound("phone")
    with override_settings(SECRET_KEY=get_random_secret_key(), SECRET_KEY_FALLBACKS=["older", old_key]):
        second = site.bound("phone")
        assert (second.access, second.refresh) == (first.access, first.refresh)
        assert site.bound("laptop").access == site.bound("laptop").access
        # A new token is derived under the new key.
        expire(first.access)
        third = site.bound("phone")
        assert third.access != first.access
        new_key = settings.SECRET_KEY
    with override_settings(SECRET_KEY=new_key, SECRET_KEY_FALLBACKS=[]):
        assert site.bound("phone").access == third.access


def test_a_token_of_a_forgotten_key_gives_way(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    first, other = site.bound("phone"), site.bound("laptop")
    with override_settings(SECRET_KEY=get_random_secret_key(), SECRET_KEY_FALLBACKS=[]):
        second = site.bound("phone")
        assert site.active(second.access)
        assert not site.active(first.access)
        assert not site.active(first.refresh)
        assert site.active(other.access)
        assert site.bound("phone").access == second.access


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_refreshing(make_bound: Callable[..., Site], token_type: str, rotate: bool) -> None:
    site = make_bound(token_type)
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True, ROTATE_REFRESH_TOKEN=rotate):
        pair = site.bound("phone")
        for _ in range(3):
            old, pair = pair, site.refresh(pair.refresh)
            assert pair.status == 200
            assert is_jwt(pair.access) is (token_type == "jwt")
            assert site.active(pair.access)
            assert not site.active(old.access)
            assert (old.refresh == pair.refresh) is not rotate
        login = site.bound("phone")
        assert (login.access == pair.access) is (token_type == "opaque")
        assert (login.refresh == pair.refresh) is (token_type == "opaque")


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_the_grace_period(make_bound: Callable[..., Site], token_type: str) -> None:
    """django-oauth-toolkit itself can't combine the two: it has nothing left to answer."""
    site = make_bound(token_type)
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True, REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        old = site.bound("phone")
        first, replay = site.refresh(old.refresh), site.refresh(old.refresh)
        assert replay.refresh == first.refresh
        assert (replay.access == first.access) is (token_type == "opaque")
        assert site.active(replay.access)
        assert site.refresh(replay.refresh).status == 200


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_an_unbound_replay_within_the_grace_period_is_refused(
    make_site: Callable[..., Site], token_type: str
) -> None:
    site = make_site(token_type=token_type)
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True, REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        old = site.token()
        new = site.refresh(old.refresh)
        replay = site.refresh(old.refresh)
        assert (replay.status, replay["error"]) == (400, "invalid_grant")
        assert site.active(new.access)


def test_a_missing_refresh_token_is_made_anew(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    first = site.bound("phone")
    refresh_token_row(first.refresh).delete()
    second = site.bound("phone")
    assert second.access == first.access
    assert second.refresh != first.refresh
    assert site.refresh(second.refresh).status == 200


@pytest.mark.parametrize("redact_later", [True, False])
def test_switching_redaction_keeps_reuse(make_bound: Callable[..., Site], redact_later: bool) -> None:
    site = make_bound()

    def pair(redact: bool) -> Answer:
        with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=redact):
            return site.bound("phone")

    before, after = pair(not redact_later), pair(redact_later)
    assert (before.access, before.refresh) == (after.access, after.refresh)


def test_access_and_refresh_tokens_are_unlike(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    values = []
    for binding in ("phone", "laptop", None):
        answer = site.bound(binding)
        values += [answer.access, answer.refresh]
    assert len(set(values)) == 6
    assert all(len(value) == 43 for value in values)


@pytest.mark.parametrize("redact", [True, False])
def test_how_long_tokens_are(make_bound: Callable[..., Site], redact: bool) -> None:
    """Bound ones have 43 characters, derived or random, and unbound ones oauthlib's 30."""
    with provider(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=redact):
        for binding_type, binding, length in (
            ("client-request", "phone", 43),
            ("client-request", None, 43),
            ("none", None, 30),
        ):
            answer = make_bound(token_binding_type=binding_type).bound(binding)
            assert [len(answer.access), len(answer.refresh)] == [length] * 2
