"""Refreshing bound tokens: rotation on and off, grace period, reuse protection, narrowed scopes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import clear_expired, get_access_token_model, get_refresh_token_model

from tests.helpers.client import GRANTS, Answer, Site, is_jwt
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire, refresh_token_row

TOKEN_TYPES = ("opaque", "jwt")
REFRESHABLE = [grant for grant in GRANTS if grant != "client_credentials"]


def assert_refused(answer: Answer, error: str = "invalid_grant") -> None:
    assert (answer.status, answer.data.get("error")) == (400, error)


def holds_its_slot(token: str) -> bool:
    return access_token_row(token).slot is not None


@pytest.mark.parametrize("binding", [None, "phone"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("grant_type", REFRESHABLE)
def test_the_new_pair_takes_the_place_of_the_old_one(
    make_bound: Callable[..., Site], grant_type: str, token_type: str, binding: str | None
) -> None:
    site = make_bound(token_type, grant_type)
    other, old = site.bound("laptop"), site.bound(binding)
    reference = site.introspect(old.access).data.get("binding_ref")

    new = site.refresh(old.refresh)

    assert new.status == 200
    assert new["expires_in"] == 3600
    assert set(new["scope"].split()) == {"read", "write"}
    assert is_jwt(new.access) is (token_type == "jwt")
    assert not is_jwt(new.refresh)
    assert not site.active(old.access)
    assert not site.active(old.refresh)
    assert site.active(new.access)
    assert site.active(other.access)
    assert site.introspect(new.access).data.get("binding_ref") == reference
    assert_refused(site.refresh(old.refresh))


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_login_after_the_refresh_finds_the_new_pair(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    refreshed = site.refresh(site.bound("phone").refresh)

    login = site.bound("phone")

    if token_type == "opaque":
        assert (login.access, login.refresh) == (refreshed.access, refreshed.refresh)
    else:
        assert not site.active(refreshed.access)
        assert_refused(site.refresh(refreshed.refresh))


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_superseded_refresh_token_is_revoked_with_its_access_token(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    old = site.bound("phone")
    if token_type == "opaque":
        expire(old.access)
    new = site.bound("phone")
    assert_refused(site.refresh(old.refresh))
    assert site.active(new.access)
    assert site.refresh(new.refresh).status == 200


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_an_expired_access_token_can_be_refreshed(
    make_bound: Callable[..., Site], token_type: str, rotate: bool
) -> None:
    site = make_bound(token_type)
    with provider(ROTATE_REFRESH_TOKEN=rotate):
        old = site.bound("phone")
        expire(old.access)
        new = site.refresh(old.refresh)
        assert new.status == 200
        assert site.active(new.access)
        assert not site.active(old.access)
        assert (new.refresh == old.refresh) is not rotate


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_without_rotation_the_refresh_token_stays(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    with provider(ROTATE_REFRESH_TOKEN=False):
        pairs = [site.bound("phone")]
        for _ in range(3):
            pairs.append(site.refresh(pairs[-1].refresh))
        assert {pair.refresh for pair in pairs} == {pairs[0].refresh}
        assert [site.active(pair.access) for pair in pairs] == [False, False, False, True]
        assert holds_its_slot(pairs[-1].access)
        login = site.bound("phone")
        assert (login.access == pairs[-1].access) is (token_type == "opaque")
        assert (login.refresh == pairs[-1].refresh) is (token_type == "opaque")


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize(
    ("own", "sent", "accepted"),
    [
        ("phone", "phone", True),
        ("phone", None, True),
        ("phone", "", True),
        ("phone", "  ", True),
        ("phone", "laptop", False),
        ("phone", "Phone", False),
        ("phone", " phone", False),
        (None, None, True),
        (None, "", True),
        (None, "phone", False),
    ],
)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_the_id_of_a_refresh_request_must_be_the_tokens_own(
    make_bound: Callable[..., Site],
    token_type: str,
    own: str | None,
    sent: str | None,
    accepted: bool,
    rotate: bool,
) -> None:
    site = make_bound(token_type)
    with provider(ROTATE_REFRESH_TOKEN=rotate):
        other = site.bound("laptop")
        old = site.bound(own)
        extra = {} if sent is None else {"tokenBindingId": sent}

        answer = site.refresh(old.refresh, **extra)

        if accepted:
            assert answer.status == 200
        else:
            assert_refused(answer)
            assert "tokenBindingId" in answer["error_description"]
            assert sent not in answer["error_description"].replace("tokenBindingId", "")
            # Nothing changed.
            assert site.active(old.access)
            assert site.refresh(old.refresh).status == 200
        assert site.active(other.access)


@pytest.mark.parametrize("sent", ["x" * 256, "a\x00b"])
def test_a_malformed_id_of_a_refresh_request_is_refused(make_bound: Callable[..., Site], sent: str) -> None:
    site = make_bound()
    pair = site.bound("phone")
    answer = site.refresh(pair.refresh, tokenBindingId=sent)
    assert_refused(answer, "invalid_request")
    assert "tokenBindingId" in answer["error_description"]
    assert site.refresh(pair.refresh, tokenBindingId="phone").status == 200


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_pair_stays_in_its_binding_whatever_the_application_is_now(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    old = site.bound("phone")
    reference = site.introspect(old.access)["binding_ref"]
    site.application.token_binding_type = "none"
    site.application.token_type = "jwt" if token_type == "opaque" else "opaque"
    site.application.save()

    assert_refused(site.refresh(old.refresh, tokenBindingId="laptop"))
    new = site.refresh(old.refresh)

    assert is_jwt(new.access) is (token_type == "opaque")
    assert site.introspect(new.access)["binding_ref"] == reference
    assert not site.active(old.access)


def test_an_unbound_pair_stays_unbound(make_site: Callable[..., Site]) -> None:
    site = make_site()
    old = site.token()
    site.application.token_binding_type = "client-request"
    site.application.save()

    assert_refused(site.refresh(old.refresh, tokenBindingId="phone"))
    new = site.refresh(old.refresh)

    assert new.status == 200
    assert access_token_row(new.access).binding is None
    assert not holds_its_slot(new.access)


def test_without_binding_the_parameter_is_ignored(make_site: Callable[..., Site]) -> None:
    site = make_site()
    assert site.refresh(site.token().refresh, tokenBindingId="x" * 300).status == 200


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_narrowed_scope_moves_the_pair_to_that_scopes_slot(
    make_bound: Callable[..., Site], token_type: str, rotate: bool
) -> None:
    site = make_bound(token_type)
    with provider(ROTATE_REFRESH_TOKEN=rotate):
        narrow = site.bound("phone", scope="read")
        wide = site.bound("phone", scope="read write")

        moved = site.refresh(wide.refresh, scope="read")

        assert moved["scope"] == "read"
        assert site.active(moved.access)
        # The slot holds one pair: the one that was there is revoked, and so is what the pair was before.
        assert not site.active(wide.access)
        assert not site.active(narrow.access)
        assert_refused(site.refresh(narrow.refresh))
        login = site.bound("phone", scope="read")
        assert (login.access == moved.access) is (token_type == "opaque")
        # The wider slot is free.
        again = site.bound("phone", scope="read write")
        assert again.access not in {wide.access, moved.access}
        assert site.active(login.access)


def test_a_scope_can_not_be_widened(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    pair = site.bound("phone", scope="read")
    assert_refused(site.refresh(pair.refresh, scope="read write"), "invalid_scope")
    assert site.active(pair.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_within_the_grace_period_a_replay_is_answered(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        old = site.bound("phone")
        first = site.refresh(old.refresh)
        replay = site.refresh(old.refresh)

        assert replay.status == 200
        # The refresh token is the one the first answer had; so is an opaque access token. A JWT is new.
        assert replay.refresh == first.refresh
        assert (replay.access == first.access) is (token_type == "opaque")
        assert site.active(replay.access)
        assert site.active(first.access) is (token_type == "opaque")
        assert holds_its_slot(replay.access)
        # The chain goes on, and replays from before it are refused.
        second = site.refresh(replay.refresh)
        assert second.status == 200
        assert_refused(site.refresh(old.refresh))
        assert site.active(second.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_the_grace_period_ends(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        old = site.bound("phone")
        new = site.refresh(old.refresh)
        row = refresh_token_row(old.refresh)
        row.revoked = timezone.now() - timedelta(seconds=121)
        row.save()
        assert_refused(site.refresh(old.refresh))
        assert site.active(new.access)


@pytest.mark.parametrize("how", ["revocation", "superseded", "successor revoked"])
def test_the_grace_period_is_not_for_revoked_tokens(make_bound: Callable[..., Site], how: str) -> None:
    site = make_bound("jwt")
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        old = site.bound("phone")
        if how == "revocation":
            site.revoke(old.refresh)
        elif how == "superseded":
            site.bound("phone")
        else:
            site.revoke(site.refresh(old.refresh).refresh)
        assert_refused(site.refresh(old.refresh))


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_replay_with_another_id_is_refused(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        old = site.bound("phone")
        new = site.refresh(old.refresh)
        assert_refused(site.refresh(old.refresh, tokenBindingId="laptop"))
        assert site.active(new.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_reuse_protection_ends_the_family_and_nothing_else(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_REUSE_PROTECTION=True):
        other = site.bound("laptop")
        first = site.bound("phone")
        second = site.refresh(first.refresh)
        third = site.refresh(second.refresh)
        assert site.active(third.access)

        assert_refused(site.refresh(first.refresh))

        assert not site.active(third.access)
        assert_refused(site.refresh(third.refresh))
        assert site.active(other.access)
        assert site.refresh(other.refresh).status == 200
        # The slot is free for a new login.
        assert site.active(site.bound("phone").access)


@pytest.mark.parametrize("protection", [True, False])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_cleartokens_removes_what_was_superseded_and_nothing_else(
    make_bound: Callable[..., Site], token_type: str, protection: bool
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_REUSE_PROTECTION=protection):
        pair = site.bound("phone")
        for _ in range(3):
            pair = site.refresh(pair.refresh)
        live = [pair, site.bound("laptop"), site.bound(None)]
        clear_expired()
        assert get_access_token_model().objects.count() == 3
        if not protection:
            assert get_refresh_token_model().objects.count() == 3
        for answer in live:
            assert site.active(answer.access)
            assert site.refresh(answer.refresh).status == 200


def test_an_expired_refresh_token_is_refused(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=60):
        pair = site.bound("phone")
        assert site.introspect(pair.refresh)["exp"] == site.introspect(pair.access)["exp"] + 60
        row = access_token_row(pair.access)
        row.expires = timezone.now() - timedelta(seconds=61)
        row.save()
        assert not site.active(pair.refresh)
        assert_refused(site.refresh(pair.refresh))


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_resources_stay_and_can_be_narrowed(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    a, b = "https://a.example/api", "https://b.example/api"
    pair = site.bound("phone", resource=[a, b])
    same = site.refresh(pair.refresh)
    assert site.introspect(same.access)["aud"] == [a, b]
    narrowed = site.refresh(same.refresh, resource=a)
    assert site.introspect(narrowed.access)["aud"] in (a, [a])
    answer = site.refresh(narrowed.refresh, resource="https://c.example")
    assert_refused(answer, "invalid_target")
    assert site.active(narrowed.access)
