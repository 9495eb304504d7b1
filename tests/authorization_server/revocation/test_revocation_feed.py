"""The revocation feed: JWTs that were revoked or superseded, for APIs that validate them on their own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import jwt
import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauth_binding.authorization_server.endpoints import revocation_feed
from oauth_binding.authorization_server.revocation import feed
from oauth_binding.core import moments
from oauth_binding.devices import devices_of, sign_out
from oauth_binding.models import RevokedToken
from oauth_binding.storage.tokens import access_tokens
from tests.helpers.client import Site, public_key
from tests.helpers.feed import read_feed
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row

URL = "/oauth2/revoked-tokens/"


def fetch(query: str = "", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().get(f"{URL}{query}", headers=sent)


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
    return read_feed(lambda query: read(fetch(query)))[0]


def minute_of(moment: float) -> int:
    return int(moment) // 60 * 60


def test_it_says_how_long_it_may_be_relied_on(user: User) -> None:
    claims = read(fetch())

    assert claims["slices"] == {}
    assert claims["suspended"] == {}
    assert abs(claims["iat"] - time.time()) < 60
    assert claims["exp"] - claims["iat"] == 600
    assert claims["closed"] <= claims["iat"] - 300
    assert claims["first"] <= claims["listed"] == claims["closed"] - 120


@pytest.mark.parametrize("binding", [None, "phone"])
def test_a_superseded_token_is_listed_until_it_expires(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, binding: str | None
) -> None:
    site = make_bound("jwt")
    superseded = site.bound(binding).claims
    site.bound(binding)
    site.bound("another")

    assert revoked() == {superseded["jti"]: superseded["exp"]}

    # An API whose clock is behind takes it for live a little longer.
    for minutes, named in ((4, [superseded["jti"]]), (6, [])):
        RevokedToken.objects.update(expires=timezone.now() - timedelta(minutes=minutes))
        monkeypatch.setattr(revocation_feed, "_kept", revocation_feed._Kept())
        assert list(revoked()) == named


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


# Pieces


@pytest.fixture
def revoke_at(user: User) -> Callable[..., str]:
    """Return a function that makes a token that was revoked at a moment, and returns its jti."""

    def make(moment: float, expires_in: int = 36_000) -> str:
        jti = secrets.token_urlsafe(16)
        expires = timezone.now() + timedelta(seconds=expires_in)
        RevokedToken.objects.create(jti=jti, expires=expires, revoked=moments.at(moment))
        return jti

    return make


@pytest.mark.usefixtures("feed_without_pause")
def test_the_head_says_which_minutes_have_changed(revoke_at: Callable[..., str]) -> None:
    now = time.time()
    heads = [read(fetch())["slices"]]
    for seconds in (0, 0, 130, 300, 400):
        revoke_at(now - seconds)
        heads.append(read(fetch())["slices"])

    minutes = [{*head} for head in heads]
    assert minutes[1] == minutes[2] == {str(minute_of(now))}
    assert minutes[5] == {str(minute_of(now - seconds)) for seconds in (0, 130, 300, 400)}
    assert heads[1] != heads[2]
    assert heads[3].items() > heads[2].items()
    # What is older is closed, and not listed.
    revoke_at(now - 600)
    assert read(fetch())["slices"] == heads[5]


def test_a_host_whose_clock_is_ahead_is_listed(revoke_at: Callable[..., str]) -> None:
    jti = revoke_at(time.time() + 290)

    assert list(revoked()) == [jti]


@pytest.mark.parametrize("seconds", [0, 200, 400, 1000, 5000, 30_000])
def test_whenever_it_was_revoked_it_is_named(revoke_at: Callable[..., str], seconds: int) -> None:
    jti = revoke_at(time.time() - seconds)

    assert list(revoked()) == [jti]


@pytest.mark.usefixtures("feed_without_pause")
def test_a_piece_that_is_open_has_the_state_of_its_minute(revoke_at: Callable[..., str]) -> None:
    now = time.time()
    first = revoke_at(now)
    minute = minute_of(now)
    states = []
    for _ in range(2):
        piece = read(fetch(f"?from={minute}"))
        assert (piece["from"], piece["until"]) == (minute, minute + 60)
        assert piece["state"] == read(fetch())["slices"][str(minute)]
        states.append(piece["state"])
        second = revoke_at(now)

    assert states[0] != states[1]
    assert piece["revoked"].keys() >= {first}
    assert second not in piece["revoked"]


def test_what_is_closed_covers_as_much_as_is_few(
    revoke_at: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_TOKENS", 3)
    with time_machine.travel(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC).timestamp(), tick=False):
        hour = datetime(2040, 5, 6, 5, tzinfo=UTC).timestamp()
        for seconds in (5, 65, 66, 1800):
            revoke_at(hour + seconds)
        spans = []
        position = int(hour)
        while position < hour + 7200:
            piece = read(fetch(f"?from={position}"))
            assert "state" not in piece
            spans.append(piece["until"] - position)
            position = piece["until"]
        # Four of them are too many for one hour, and none are not.
        assert spans == [600] * 6 + [3600]

        for _ in range(2):
            revoke_at(hour + 3600 + 65)
            revoke_at(hour + 3600 + 76)
        monkeypatch.setattr(revocation_feed, "_kept", revocation_feed._Kept())
        # Whatever moment is asked for, it is in one of them.
        piece = read(fetch(f"?from={int(hour) + 3661}"))
        assert (piece["from"], piece["until"]) == (hour + 3660, hour + 3670)
        revoke_at(hour + 3600 + 66)
        revoke_at(hour + 3600 + 66)
        monkeypatch.setattr(revocation_feed, "_kept", revocation_feed._Kept())
        piece = read(fetch(f"?from={int(hour) + 3665}"))
        assert (piece["from"], piece["until"]) == (hour + 3665, hour + 3666)
        assert len(revoked()) == 10


def test_what_is_not_closed_is_of_a_minute_at_most(revoke_at: Callable[..., str]) -> None:
    with time_machine.travel(datetime(2040, 5, 6, 8, 2, 30, tzinfo=UTC).timestamp(), tick=False):
        hour = int(datetime(2040, 5, 6, 7, tzinfo=UTC).timestamp())
        pieces = [read(fetch(f"?from={hour + start}")) for start in (0, 3001, 3420, 3659)]
        assert [(piece["from"] - hour, piece["until"] - hour) for piece in pieces] == [
            *((0, 600), (3000, 3060), (3420, 3480), (3600, 3660))
        ]
        assert read(fetch())["closed"] == hour + 3420


@pytest.mark.parametrize("name", ["from", "suspended"])
@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1e3", "٣", "9" * 12, "%00", "1%20"])
def test_what_is_no_moment_is_refused_by_name(user: User, name: str, text: str) -> None:
    response = fetch(f"?{name}={text}")

    assert response.status_code == 400
    assert response.json() == {
        "error": "invalid_request",
        "error_description": f"{name} is not a moment in seconds since the epoch.",
    }


def test_the_future_is_refused_by_name(user: User) -> None:
    response = fetch(f"?from={int(time.time()) + 400}")

    assert response.status_code == 400
    assert response.json() == {"error": "invalid_request", "error_description": "from is in the future."}


def test_before_the_first_moment_there_is_one_piece(revoke_at: Callable[..., str]) -> None:
    """A consumer may begin at a moment that it kept long ago, or at what another host took for the first."""
    jti = revoke_at(time.time() - 7200)
    first = read(fetch())["first"]

    pieces = [read(fetch(f"?from={moment}")) for moment in (0, 1, first - 3600, first - 1)]

    assert {(piece["from"], piece["until"], len(piece["revoked"])) for piece in pieces} == {(0, first, 0)}
    assert jti in read_feed(lambda query: read(fetch(query)), since=5)[0]


@pytest.mark.usefixtures("feed_without_pause")
def test_users_who_are_not_active_are_a_piece_of_their_own(make_bound: Callable[..., Site]) -> None:
    token = make_bound("jwt").bound("phone")
    User.objects.update(is_active=False)

    hour = token.claims["exp"] // 3600 * 3600
    piece = read(fetch(f"?suspended={hour}"))

    assert piece["suspended"] == {token.claims["jti"]: token.claims["exp"]}
    assert (piece["from"], piece["until"]) == (hour, hour + 3600)
    assert {str(hour): piece["state"]} == read(fetch())["suspended"]
    assert read(fetch(f"?suspended={hour + 1000}")) == piece
    User.objects.update(is_active=True)
    assert read(fetch())["suspended"] == {}
    assert read(fetch(f"?suspended={hour}"))["suspended"] == {}


@pytest.fixture
def suspend(make_bound: Callable[..., Site]) -> Iterator[Callable[[list[float]], list[str]]]:
    """Return a function that makes tokens that expire at certain moments, of a user who is not active."""
    site = make_bound("jwt")

    def make(expire: list[float]) -> list[str]:
        jtis = []
        for moment in expire:
            token = site.bound(f"device {secrets.token_hex(8)}")
            jtis.append(token.claims["jti"])
            access_tokens().filter(jti=jtis[-1]).update(expires=moments.at(moment))
        User.objects.update(is_active=False)
        return jtis

    yield make
    User.objects.update(is_active=True)


@pytest.mark.parametrize("use_tz", [True, False])
def test_suspended_tokens_are_in_pieces_by_when_they_expire(
    suspend: Callable[[list[float]], list[str]], monkeypatch: pytest.MonkeyPatch, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    monkeypatch.setattr(feed, "MAX_TOKENS", 2)
    with time_machine.travel(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC).timestamp(), tick=False):
        hour = int(datetime(2040, 5, 6, 8, tzinfo=UTC).timestamp())
        expire = [hour + seconds + 0.5 for seconds in (5, 65, 66, 600, 1800, 3599, 10_800)]
        jtis = suspend(expire)
        assert [*read(fetch())["suspended"]] == [str(hour), str(hour + 10_800)]

        position, spans = hour, []
        named: dict[str, int] = {}
        while position < hour + 20_000:
            piece = read(fetch(f"?suspended={position}"))
            assert piece["from"] == position
            named |= piece["suspended"]
            position = piece["until"]
            spans.append(position - piece["from"])

    assert named == {jti: int(moment) for jti, moment in zip(jtis, expire, strict=True)}
    # Of more than two in ten minutes by the minute, and where there are none as far as that goes.
    assert spans == [60] * 10 + [600] * 5 + [7200, 3600, feed.END - hour - 14_400]


def test_who_is_suspended_after_all_were_counted_is_read_again(
    suspend: Callable[[list[float]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece that names others than were counted is not kept for these: they may come back."""
    passed = 0.0
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: passed)
    hour = int(time.time()) // 3600 * 3600 + 3600
    one, other = suspend([hour + 1.0, hour + 2.0])
    access_tokens().filter(jti=other).update(user=None)
    state = read(fetch())["suspended"][str(hour)]
    User.objects.update(is_active=True)

    piece = read(fetch(f"?suspended={hour}"))
    assert piece["suspended"] == {}
    assert piece["state"] != state

    User.objects.update(is_active=False)
    passed += 1.1
    piece = read(fetch(f"?suspended={hour}"))
    assert (piece["suspended"].keys(), piece["state"]) == ({one}, state)


# Caching


@pytest.mark.usefixtures("feed_without_pause")
def test_the_head_is_kept_and_asked_for_anew(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    site.bound("phone")
    first = fetch()

    unchanged = fetch(If_None_Match=first["ETag"])
    site.bound("phone")
    changed = fetch(If_None_Match=first["ETag"])

    assert first["Cache-Control"] == unchanged["Cache-Control"] == "public, no-cache"
    # A new minute is another head.
    assert unchanged.status_code == 304 or minute_of(time.time() - 1) != minute_of(time.time())
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]
    assert len(read(changed)["slices"]) == 1


def test_what_is_closed_is_kept_until_its_tokens_have_expired(revoke_at: Callable[..., str]) -> None:
    with time_machine.travel(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC)) as clock:
        start = int(datetime(2040, 5, 6, 7, 10, tzinfo=UTC).timestamp())
        for expires_in in (100, 1000):
            revoke_at(start + 5, expires_in)
        with mock.patch.object(feed, "sign", wraps=feed.sign) as sign:
            for passed in (0, 500, 700):
                clock.move_to(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC) + timedelta(seconds=passed))
                response = fetch(f"?from={start}")
                assert response["Cache-Control"] == f"public, max-age={1300 - passed}, immutable"
                piece = read(response)
                assert len(piece["revoked"]) == 2
                assert piece["exp"] == int(time.time()) + 1300 - passed
                assert fetch(f"?from={start}", If_None_Match=response["ETag"]).status_code == 304
            assert sign.call_count == 1


def test_what_is_closed_and_empty(user: User) -> None:
    start = int(time.time() - 7200) // 3600 * 3600

    response = fetch(f"?from={start}")

    assert response["Cache-Control"] == "public, max-age=600, immutable"
    assert read(response)["revoked"] == {}


def test_what_is_closed_takes_no_query(revoke_at: Callable[..., str]) -> None:
    start = int(time.time() - 7200) // 3600 * 3600
    revoke_at(start + 1)
    read(fetch(f"?from={start}"))

    with CaptureQueriesContext(connection) as queries:
        read(fetch(f"?from={start}"))

    assert len(queries) == 0


def test_strangers_have_little_looked_up_and_signed(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was revoked a second ago is in every answer, however many ask, and however much is revoked."""
    passed = 0.0
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: passed)
    site = make_bound("jwt")
    site.bound("phone")
    minute = minute_of(time.time())
    with mock.patch.object(feed, "sign", wraps=feed.sign) as sign:
        for second in range(3):
            for number in range(5):
                site.bound("phone")
                with CaptureQueriesContext(connection) as queries:
                    fetch()
                    fetch(f"?from={minute}")
                assert len(queries) == 0 or number == 0
            assert sign.call_count == 2 * (second + 1)
            passed += 1.001
    piece = read(fetch(f"?from={minute}"))
    assert len(piece["revoked"]) == 15 or minute != minute_of(time.time())


def test_a_head_that_has_not_changed_is_signed_once_in_five_seconds(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: passed)
    with (
        time_machine.travel(datetime(2040, 5, 6, 7, 30, 10, tzinfo=UTC).timestamp(), tick=False),
        mock.patch.object(feed, "sign", wraps=feed.sign) as sign,
    ):
        for signed in (1, 1, 1, 2):
            fetch()
            assert sign.call_count == signed
            passed += 2


def test_each_piece_is_signed_once_whatever_strangers_ask_for(
    revoke_at: Callable[..., str],
    suspend: Callable[[list[float]], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: 0.0)
    monkeypatch.setattr(feed, "MAX_TOKENS", 3)
    with time_machine.travel(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC).timestamp(), tick=False):
        now = int(time.time())
        for seconds in (3, *[5000] * 5, *range(5001, 5200, 9), 9000):
            revoke_at(now - seconds)
        suspend([now + 1800.0 + seconds for seconds in range(0, 1500, 200)])
        queries = [
            *(f"?from={moment}" for moment in (0, 1, 10**9, *range(now - 14_400, now + 300, 37))),
            *(f"?suspended={moment}" for moment in (0, 10**11 - 1, *range(now - 7200, now + 7200, 37))),
        ]
        with mock.patch.object(feed, "sign", wraps=feed.sign) as sign:
            pieces = set()
            for query in queries:
                claims = jwt.decode(fetch(query).content.decode(), options={"verify_signature": False})
                assert claims["from"] <= int(query.split("=")[1]) < claims["until"]
                pieces.add(("revoked" in claims, claims["from"], claims["until"]))
            assert sign.call_count == len(pieces) < 80
            assert len([True for is_revoked, _start, _until in pieces if not is_revoked]) > 4
            with CaptureQueriesContext(connection) as captured:
                for query in queries:
                    fetch(query)
            assert (sign.call_count, len(captured)) == (len(pieces), 0)


def test_users_who_are_not_active_are_looked_for_in_a_tenth_of_the_time(
    suspend: Callable[[list[float]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(revocation_feed, "monotonic", lambda: passed)
    look = feed.read_suspended

    def look_for_long(now: datetime) -> feed.Suspended:
        nonlocal passed
        passed += 2
        return look(now)

    with mock.patch.object(feed, "read_suspended", look_for_long):
        assert read(fetch())["suspended"] == {}
        hour = int(time.time()) // 3600 * 3600 + 3600
        suspend([hour + 1.0])
        # As of when the look began.
        passed += 17
        assert read(fetch())["suspended"] == {}
        passed += 2
        assert [*read(fetch())["suspended"]] == [str(hour)]


def test_what_is_kept_takes_so_much_memory(
    revoke_at: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = revocation_feed._Kept()
    monkeypatch.setattr(revocation_feed, "_kept", kept)
    monkeypatch.setattr(kept, "MAX_SIZE", 10_000)
    now = minute_of(time.time())
    revoke_at(now - 100_000)
    for hours in range(2, 20):
        assert fetch(f"?from={now - 3600 * hours}").status_code == 200
        texts = [len(found.value.text) for found in kept._found.values() if hasattr(found.value, "text")]
        assert sum(texts) + 1024 * len(kept._found) == kept._size <= 10_000
    assert len(texts) > 3


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
