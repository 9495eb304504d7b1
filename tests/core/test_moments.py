"""Moments as the site keeps them: aware, or by local clocks where ``USE_TZ`` is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from oauth_binding.authorization_server.revocation.feed import Piece, read_listed, read_piece, spans_at
from oauth_binding.core import moments
from oauth_binding.core.jose.claims import LAST_DATE
from oauth_binding.models import RevokedToken
from oauth_binding.resource_server.verified_token import AccessToken
from oauth_binding.storage.tokens import access_tokens
from tests.helpers.client import REDIRECT_URI, Site
from tests.helpers.feed import read_feed

ZONES = ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "Etc/GMT+12"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_moment_is_the_same_one_and_can_be_compared(settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    now = timezone.now()

    assert moments.at(now.timestamp()) == now
    assert moments.as_kept(datetime.fromtimestamp(now.timestamp(), UTC)) == now
    assert moments.as_kept(now) == now
    assert moments.at(0).timestamp() == 0


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("use_tz", [True, False])
def test_the_end_of_all_dates(settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone

    last = moments.at(LAST_DATE)

    assert last > timezone.now()
    assert LAST_DATE - 3 * 86_400 < last.timestamp() <= LAST_DATE


def test_a_token_elsewhere_expires_as_the_site_keeps_moments(settings: Any) -> None:
    settings.USE_TZ, settings.TIME_ZONE, settings.OAUTH_RESOURCE_SERVER = False, "Asia/Kolkata", {}
    expires = timezone.now() + timedelta(minutes=1)
    token = AccessToken({"exp": expires.timestamp()})

    assert token.expires == expires
    assert not token.is_expired()
    assert AccessToken({"exp": expires.timestamp() - 120}).is_expired()


def _piece_at(moment: int) -> Piece:
    now = timezone.now()
    pieces = (read_piece(start, span, now) for start, span in spans_at(moment, int(now.timestamp())))
    return next(piece for piece in pieces if piece is not None)


@pytest.mark.django_db
@pytest.mark.parametrize("use_tz", [True, False])
def test_no_revocation_is_missed_while_local_clocks_are_put_back_or_forward(
    settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Berlin"
    for hour in (datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 3, 29, 0, tzinfo=UTC)):
        for minutes in (51, 59, 60, 65):
            with time_machine.travel((hour + timedelta(minutes=minutes)).timestamp(), tick=False):
                expires = timezone.now() + timedelta(hours=9)
                RevokedToken.objects.create(jti=f"{hour.month} {minutes}", expires=expires)
                jti = f"{hour.month} {minutes}"
                _start, slices = read_listed(int(time.time()))
                named = (_piece_at(start).revoked for start in slices)
                assert any(jti in piece for piece in named)
        # And when it is closed.
        with time_machine.travel((hour + timedelta(minutes=130)).timestamp(), tick=False):
            revoked: dict[str, int] = {}
            position = int(hour.timestamp())
            while position < hour.timestamp() + 7200:
                piece = _piece_at(position)
                revoked |= piece.revoked
                position = piece.until

        assert revoked.keys() >= {f"{hour.month} {minutes}" for minutes in (51, 59, 60, 65)}


@pytest.mark.parametrize(
    "hour", [datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 3, 29, 0, tzinfo=UTC)]
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_no_user_is_missed_whose_tokens_expire_while_local_clocks_are_put_back_or_forward(
    make_bound: Callable[..., Site], settings: Any, use_tz: bool, hour: datetime
) -> None:
    """Also at moments that no local clock shows: an hour after the last ones before it is put forward."""
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Berlin"
    site = make_bound("jwt")
    jtis = set()
    for minutes in (31, 59, 61, 91):
        with time_machine.travel((hour + timedelta(minutes=minutes)).timestamp(), tick=False):
            token = site.bound(f"{minutes}")
            expires = timezone.now() + timedelta(hours=1)
            access_tokens().filter(jti=token.claims["jti"]).update(expires=expires)
            jtis.add(token.claims["jti"])
    User.objects.update(is_active=False)
    with time_machine.travel((hour + timedelta(minutes=30)).timestamp(), tick=False):
        _revoked, suspended = read_feed(_read)

    assert suspended.keys() == jtis


def _read(query: str) -> dict[str, Any]:
    text = Client().get(f"/oauth2/revoked-tokens/{query}").content
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def test_the_dates_of_devices_have_an_offset(make_bound: Callable[..., Site], settings: Any) -> None:
    pytest.importorskip("rest_framework", reason="the API of devices needs it")
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "DEFAULT_SCOPES": ["devices:read"]}
    site = make_bound()
    token = site.bound("phone").access

    answer = site.http.get("/api/devices/", headers={"Authorization": f"Bearer {token}"}).json()

    (device,) = answer["results"]
    # As tests/settings.py has it without USE_TZ.
    assert device["last_used"].endswith("Z" if settings.USE_TZ else "+05:30")
    assert abs(datetime.fromisoformat(device["last_used"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_registration_that_never_ends(user: Any, settings: Any) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "DCR_ENABLED": True,
        "DCR_REGISTRATION_TOKEN_EXPIRE_SECONDS": None,
    }
    browser = Client()
    browser.force_login(user)
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"]}

    answer = browser.post("/oauth2/register/", metadata, content_type="application/json")

    assert answer.status_code == 201, answer.content
    token = answer.json()["registration_access_token"]
    managed = Client().get(
        f"/oauth2/register/{answer.json()['client_id']}/", headers={"Authorization": f"Bearer {token}"}
    )
    assert managed.status_code == 200
