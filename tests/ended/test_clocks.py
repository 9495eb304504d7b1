"""Ended means ended at hosts whose clocks are apart.

tests/concurrency has the same between processes, each with a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from oauth_binding.devices import sign_out_everywhere
from tests.helpers.client import Answer, Site

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["client-request", "none"])
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    return make_site(token_binding_type=request.param)


def _ahead(seconds: int) -> time_machine.travel:
    """Be at a host whose clock is ahead."""
    return time_machine.travel(timezone.now().timestamp() + seconds)


def test_a_refresh_token_that_was_used_where_the_clock_is_ahead_is_used_up(site: Site) -> None:
    login = site.token()
    with _ahead(60):
        refreshed = site.refresh(login.refresh)
    assert site.refresh(login.refresh).status == 400
    assert site.active(refreshed.access)


def test_its_use_where_the_clock_is_behind_is_reuse(site: Site, settings: Any) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    }
    login = site.token()
    with _ahead(60):
        refreshed = site.refresh(login.refresh)
    assert site.refresh(login.refresh).status == 400
    assert not site.active(refreshed.access)


def _revoke(site: Site, login: Answer) -> None:
    assert site.revoke(login.access).status == 200


def _sign_out_everywhere(site: Site, login: Answer) -> None:
    assert site.user is not None
    sign_out_everywhere(site.user)


@pytest.mark.parametrize("end", [_revoke, _sign_out_everywhere])
def test_a_token_that_has_expired_by_a_clock_ahead_is_ended_there(
    site: Site, end: Callable[[Site, Answer], None]
) -> None:
    login = site.token()
    with _ahead(login["expires_in"] + 60):
        end(site, login)
    assert not site.active(login.access)
    assert site.api(login.access) == 401
