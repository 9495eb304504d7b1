"""The revocation feed: JWTs that were revoked or superseded, for APIs that validate them on their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import jwt
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauth_binding.authorization_server.endpoints import revocation_feed
from oauth_binding.authorization_server.revocation import feed
from oauth_binding.devices import devices_of, sign_out
from oauth_binding.models import RevokedToken
from tests.helpers.client import Site, public_key
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

URL = "/oauth2/revoked-tokens/"


def fetch(since: Any = None, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().get(URL, {} if since is None else {"since": since}, headers=sent)


def read(response: Any) -> dict[str, Any]:
    """Return the claims of an answer, verified as an API would."""
    assert response.status_code == 200
    assert response["Content-Type"] == "application/jwt"
    text = response.content.decode()
    assert jwt.get_unverified_header(text)["typ"] == "revoked-tokens+jwt"
    claims: dict[str, Any] = jwt.decode(
        text, public_key(), algorithms=["RS256"], issuer="http://testserver/oauth2"
    )
    return claims


def revoked() -> dict[str, int]:
    listed: dict[str, int] = read(fetch())["revoked"]
    return listed


def test_it_says_how_long_it_may_be_relied_on(user: User) -> None:
    claims = read(fetch())

    assert claims["revoked"] == {}
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["exp"] - claims["iat"] == 600
    assert claims["next"] <= claims["iat"]
    assert "since" not in claims


@pytest.mark.parametrize("binding", [None, "phone"])
def test_a_superseded_token_is_listed_until_it_expires(
    make_bound: Callable[..., Site], binding: str | None
) -> None:
    site = make_bound("jwt")
    superseded = site.bound(binding).claims
    site.bound(binding)
    site.bound("another")

    assert revoked() == {superseded["jti"]: superseded["exp"]}

    # An API whose clock is behind takes it for live a little longer.
    RevokedToken.objects.update(expires=timezone.now() - timedelta(minutes=4))
    assert list(revoked()) == [superseded["jti"]]
    RevokedToken.objects.update(expires=timezone.now() - timedelta(minutes=6))
    assert revoked() == {}


REVOCATIONS: dict[str, Callable[[Site, Any], Any]] = {
    "the revocation endpoint": lambda site, token: site.revoke(token.access),
    "revoking its refresh token": lambda site, token: site.revoke(token.refresh),
    "refreshing": lambda site, token: site.refresh(token.refresh),
    "signing out": lambda site, token: sign_out(site.user, devices_of(site.user)[0]),  # type: ignore[arg-type]
    "deleting the token": lambda site, token: access_token_row(token.access).delete(),
    "deleting the application": lambda site, token: site.application.delete(),
    "deleting the user": lambda site, token: User.objects.all().delete(),
}


@pytest.mark.parametrize("binding", [None, "phone"])
@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize("way", REVOCATIONS)
def test_every_way_to_revoke_a_token(
    make_bound: Callable[..., Site], way: str, binding_type: str, binding: str | None, rotates: bool
) -> None:
    with provider(ROTATE_REFRESH_TOKEN=rotates):
        site = make_bound("jwt", token_binding_type=binding_type)
        token = site.bound(binding)

        REVOCATIONS[way](site, token)

    listed = revoked()
    assert list(listed) == [token.claims["jti"]]
    assert listed[token.claims["jti"]] >= token.claims["exp"]


def test_a_replayed_refresh_lists_the_token_it_replaces(make_bound: Callable[..., Site]) -> None:
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        site = make_bound("jwt")
        first = site.bound("phone")
        second = site.refresh(first.refresh)
        third = site.refresh(first.refresh)

    assert set(revoked()) == {first.claims["jti"], second.claims["jti"]}
    assert site.active(third.access)


def test_opaque_and_live_tokens_are_not_listed(make_bound: Callable[..., Site]) -> None:
    opaque = make_bound("opaque")
    opaque.revoke(opaque.bound("phone").access)
    make_bound("jwt").bound("phone")

    assert revoked() == {}


def test_tokens_that_have_long_expired_are_not_listed(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    token = site.bound("phone")
    row = access_token_row(token.access)
    # A moment ago is not long enough: by the clock of another server it may be live.
    row.expires = timezone.now() - timedelta(seconds=301)
    row.save()
    site.bound("phone")
    row.delete()

    assert revoked() == {}


# Incremental answers


def test_an_answer_goes_on_where_the_last_one_ended(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    old = site.bound("phone").claims["jti"]
    new = site.bound("phone").claims["jti"]
    RevokedToken.objects.update(revoked=timezone.now() - timedelta(hours=1))
    following = read(fetch())["next"]

    site.bound("phone")
    claims = read(fetch(following))

    assert claims["since"] == following
    assert set(claims["revoked"]) == {new}
    assert set(revoked()) == {old, new}


def test_an_answer_reaches_back_behind_the_last_one(make_bound: Callable[..., Site]) -> None:
    """A transaction that was open when the last answer was made may have revoked something before."""
    following = read(fetch())["next"]
    site = make_bound("jwt")
    late = site.bound("phone").claims["jti"]
    site.bound("phone")
    RevokedToken.objects.update(revoked=timezone.now() - timedelta(minutes=5))

    assert set(read(fetch(following))["revoked"]) == {late}


@pytest.mark.parametrize("since", ["", "-1", "1.5", "x", "1e3", "٣", "9" * 12, "\x00", "1 "])
def test_a_malformed_since_is_refused_by_name(user: User, since: str) -> None:
    response = fetch(since)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert "since" in response.json()["error_description"]


@pytest.mark.parametrize(
    "what", ["between minutes", "in the future", "of the far future", "of long ago", "of the beginning"]
)
def test_a_since_that_no_answer_has_had_lately_is_refused_by_name(user: User, what: str) -> None:
    """There are not many answers that strangers can have made."""
    following = read(fetch())["next"]
    since = {
        "between minutes": following - 1,
        "in the future": following + 420,
        "of the far future": 99_999_999_960,
        "of long ago": following - 7200,
        "of the beginning": 0,
    }[what]

    response = fetch(since)

    assert response.status_code == 400
    assert response.json() == {
        "error": "invalid_request",
        "error_description": "since is not the next of an answer of the last two hours.",
    }
    assert read(fetch(following - 6600))["since"] == following - 6600


# Caching


def test_an_answer_is_kept_and_asked_for_anew(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    site.bound("phone")
    first = fetch()

    unchanged = fetch(If_None_Match=first["ETag"])
    site.bound("phone")
    changed = fetch(If_None_Match=first["ETag"])

    assert first["Cache-Control"] == unchanged["Cache-Control"] == "public, no-cache"
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]
    assert len(read(changed)["revoked"]) == 1


def test_an_answer_takes_two_queries_and_one_more_where_it_has_changed(
    make_bound: Callable[..., Site],
) -> None:
    site = make_bound("jwt")
    for expected in (3, 2, 2):
        with CaptureQueriesContext(connection) as queries:
            fetch()
        # The first test of a process may find that nothing has changed since another.
        assert len(queries) in {expected, 2}
    site.bound("phone")
    site.bound("phone")
    for expected in (3, 2):
        with CaptureQueriesContext(connection) as queries:
            fetch()
        assert len(queries) == expected


def test_what_has_not_changed_is_signed_once_in_five_seconds(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: time.monotonic() + passed)
    site = make_bound("jwt")
    site.bound("phone")
    site.bound("phone")
    with mock.patch.object(feed, "sign", wraps=feed.sign) as sign:
        texts = {fetch().content for _ in range(10)}
        assert (len(texts), sign.call_count) == (1, 1)

        # At once, where there is something to say.
        site.bound("phone")
        assert len(revoked()) == 2
        assert sign.call_count == 2
        User.objects.update(is_active=False)
        assert len(read(fetch())["suspended"]) == 1
        assert sign.call_count == 3
        User.objects.update(is_active=True)
        assert read(fetch())["suspended"] == {}

        before = sign.call_count
        passed = 6
        fetch()
        assert sign.call_count == before + 1


def test_few_answers_are_kept(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_feed, "_signed", kept := revocation_feed._Signed())
    following = read(fetch())["next"]

    for minute in range(30):
        assert fetch(following - 60 * minute).status_code == 200

    assert len(kept._answers) == kept.MAX_COUNT


# Setting up


def test_without_the_setting_there_is_no_feed(make_bound: Callable[..., Site]) -> None:
    with override_settings(OAUTH_BINDING={}):
        site = make_bound("jwt")
        site.bound("phone")
        site.bound("phone")

        assert fetch().status_code == 404
        assert not RevokedToken.objects.exists()


def test_without_a_signing_key_there_is_no_feed(user: User) -> None:
    with provider(OIDC_ENABLED=False, OIDC_RSA_PRIVATE_KEY=""):
        assert fetch().status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(user: User, method: str) -> None:
    assert Client(enforce_csrf_checks=False).generic(method, URL).status_code == 405


def test_expired_entries_are_cleared(
    make_bound: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_bound("jwt")
    for _request in range(3):
        site.bound("phone")
    expired = RevokedToken.objects.order_by("pk")[0]
    RevokedToken.objects.filter(pk=expired.pk).update(expires=timezone.now() - timedelta(minutes=5))

    call_command("clearbindings", "--dry-run")
    assert "1 expired revoked tokens would be deleted" in capsys.readouterr().out
    assert RevokedToken.objects.count() == 2

    call_command("clearbindings")
    assert "1 expired revoked tokens deleted" in capsys.readouterr().out
    assert len(revoked()) == RevokedToken.objects.count() == 1
