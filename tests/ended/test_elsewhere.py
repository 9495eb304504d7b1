"""Ended means ended at APIs in other projects, too: as soon as they have asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from oauth_binding.core.jose import jwk_sets
from oauth_binding.resource_server import revocation_feed_client
from tests.ended.doors import ACCESS_TOKENS, ELSEWHERE
from tests.ended.events import EVENTS
from tests.ended.held import Applications, Held, hold
from tests.ended.table import KINDS, assert_none, cases, excepted
from tests.helpers.client import Site

pytest.importorskip("rest_framework")

#: How old what such an API knows may be, in seconds.
INTERVAL: Final = 0.3

WITH_FEED, WITH_INTROSPECTION = ELSEWHERE


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jwk_sets, "_remote", {})
    monkeypatch.setattr(revocation_feed_client, "_feeds", {})
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def doors(live_server: Any, settings: Any, make_site: Callable[..., Site]) -> dict[str, dict[str, Any]]:
    """Return the setting of the API by door; the server is a process's own, asked over HTTP."""
    settings.ROOT_URLCONF = "tests.ended.elsewhere_urls"
    issuer = "http://testserver/oauth2"
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_ISS_ENDPOINT": issuer}
    own = make_site("client_credentials", as_user=None)
    base = f"{live_server.url}/oauth2"
    common = {"ISSUER": issuer, "AUDIENCE": issuer}
    return {
        WITH_FEED: {
            **common,
            "VALIDATION": "local",
            "JWKS_URL": f"{base}/.well-known/jwks.json",
            "REVOCATION_FEED_URL": f"{base}/revoked-tokens/",
            "REVOCATION_INTERVAL": INTERVAL,
        },
        WITH_INTROSPECTION: {
            **common,
            "VALIDATION": "introspection",
            "INTROSPECTION_URL": f"{base}/introspect/",
            "INTROSPECTION_CACHE_SECONDS": INTERVAL,
            "CLIENT_ID": own.application.client_id,
            "CLIENT_SECRET": own.secret,
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), cases([], [*KINDS][:3]))
@pytest.mark.usefixtures("feed_without_pause")
def test_what_has_ended_is_refused_elsewhere(
    doors: dict[str, dict[str, Any]],
    make_applications: Callable[[str], Applications],
    user: User,
    bob: User,
    settings: Any,
    name: str,
    kind: str,
) -> None:
    event = EVENTS[name]
    if not KINDS[kind].is_jwt:
        del doors[WITH_FEED]  # opaque tokens have to be introspected

    def try_elsewhere(held: Held) -> dict[tuple[str, str], bool]:
        found = {}
        for door, configuration in doors.items():
            settings.OAUTH_RESOURCE_SERVER = configuration
            for credential in ACCESS_TOKENS:
                headers = {"Authorization": f"Bearer {held.text(credential)}"}
                status = held.mobile.http.get("/elsewhere/me/", headers=headers).status_code
                assert status in {200, 401}
                found[door, credential] = status == 200
            del settings.OAUTH_RESOURCE_SERVER
        return found

    applications = make_applications(kind)
    with event.under():
        theirs = hold(make_applications(kind) if event.is_of_application else applications, bob)
        held = hold(applications, user)
        before = try_elsewhere(held)
        assert_none("open before the event", (cell for cell in before if not before[cell]))
        undo = event.happens(held)
        time.sleep(INTERVAL)
        after = try_elsewhere(held)
        untouched = try_elsewhere(theirs)
        if callable(undo):
            undo()

    expected = {cell: excepted(event, cell[1], cell[0]) is not None for cell in after}
    assert_none("refused after the event", (cell for cell in after if after[cell] > expected[cell]))
    assert_none("nothing more than that", (cell for cell in after if after[cell] < expected[cell]))
    assert_none("open to another user", (cell for cell in untouched if not untouched[cell]))
