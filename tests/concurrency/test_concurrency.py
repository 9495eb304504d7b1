"""What holds between processes: several workers, several clients, one slot or many."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.concurrency.load import Event, Sender, log_in_at_once, mix
from tests.concurrency.site import REPOSITORY, RunningSite, running_site

TOKEN_TYPES = ("opaque", "jwt")

#: More rounds and longer ones than one wants to wait for every time.
ROUNDS = int(os.environ.get("CONCURRENCY_ROUNDS", "1"))
SECONDS = 4.0 * ROUNDS

#: Cleans up and signs devices out at random, for a time.
_OPERATOR = """
import random, time
from oauth2_provider.models import clear_expired
from oauth_binding.models import TokenBinding
from oauth_binding.revocation import revoke_binding
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    clear_expired()
    for binding in random.sample(list(TokenBinding.objects.all()), min(2, TokenBinding.objects.count())):
        revoke_binding(binding)
    time.sleep(0.05)
"""

#: Per binding, more than one access or refresh token that is live; and live refresh tokens without a slot.
_STATE = """
from django.db.models import Count, Q
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
def several(tokens):
    return list(tokens.values_list("binding").annotate(number=Count("pk")).filter(number__gt=1))
live = RefreshToken.objects.filter(revoked__isnull=True)
result = {
    "access tokens": several(AccessToken.objects.filter(expires__gt=timezone.now())),
    "refresh tokens": several(live),
    "orphans": live.filter(Q(access_token__isnull=True) | Q(access_token__slot__isnull=True)).count(),
}
"""


on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server")
in_the_long_form = pytest.mark.skipif(
    ROUNDS == 1, reason="takes long; set CONCURRENCY_ROUNDS, for instance to 5"
)

pytestmark = on_a_server


@pytest.fixture
def make_running_site(tmp_path: Path, db: None) -> Callable[..., Any]:
    def make(**provider: Any) -> Any:
        return running_site(tmp_path, **provider)

    return make


def assert_statuses(events: list[Event], *allowed: int) -> None:
    assert Counter(event.status for event in events if event.status not in {200, *allowed}) == {}


def assert_sound(site: RunningSite, events: list[Event]) -> None:
    """Check what was answered, and what is left in the database."""
    owners = defaultdict(set)
    for event in events:
        for name in ("access_token", "refresh_token"):
            if name in event.data:
                owners[event.data[name]].add((event.client_id, event.binding))
    assert [found for found in owners.values() if len(found) > 1] == []

    # No answer has a token that was dead before the request began.
    dead: dict[str, float] = {}
    for event in events:
        if event.kind == "revoke" and event.status == 200:
            dead[event.sent] = min(event.ended, dead.get(event.sent, event.ended))
    late = [
        event
        for event in events
        for name in ("access_token", "refresh_token")
        if event.started > dead.get(event.data.get(name, ""), event.started)
    ]
    assert late == []

    assert site.run(_STATE) == {"access tokens": [], "refresh tokens": [], "orphans": 0}
    assert_superseded_refresh_tokens_are_dead(site, events)


def assert_superseded_refresh_tokens_are_dead(site: RunningSite, events: list[Event]) -> None:
    answered: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.ended):
        if "refresh_token" in event.data:
            tokens = answered[event.client_id, event.binding]
            if event.data["refresh_token"] not in tokens:
                tokens.append(event.data["refresh_token"])
    for (client_id, binding), tokens in answered.items():
        sender = Sender(site.address, client_id)
        working = [sender.refresh(binding, token).status == 200 for token in tokens[-20:]]
        # The one that works is used up by this, and its successor is not among them.
        assert sum(working) <= 1


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_64_simultaneous_requests_for_one_slot(
    make_running_site: Callable[..., Any], token_type: str
) -> None:
    with make_running_site() as site:
        for number in range(ROUNDS):
            # The first request ever for a device, then the next for the same one, then one without an id.
            for binding in (f"device {number}", f"device {number}", None):
                events = log_in_at_once(site.address, token_type, [binding] * 64)
                assert_statuses(events)
                answered = {event.access for event in events}
                sender = Sender(site.address, token_type)
                active = [token for token in answered if sender.is_active(token)]
                assert len(active) == 1
                assert len(answered) == (1 if token_type == "opaque" else 64)
        assert_sound(site, events)


@in_the_long_form
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_many_devices_at_once(make_running_site: Callable[..., Any], token_type: str) -> None:
    devices: list[str | None] = [None, *(f"device {number}" for number in range(12))]
    with make_running_site() as site:
        for _ in range(ROUNDS):
            events = log_in_at_once(site.address, token_type, devices * 16)
            assert_statuses(events)
            assert_sound(site, events)
            by_device = defaultdict(set)
            for event in events:
                by_device[event.binding].add(event.access)
            assert len(by_device) == len(devices)
            if token_type == "opaque":
                assert all(len(tokens) == 1 for tokens in by_device.values())


@contextmanager
def _operator(site: RunningSite, seconds: float) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "shell", "--no-imports", "-c", _OPERATOR.format(seconds=seconds)],
        env=site.environment,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
    )
    try:
        yield
    finally:
        _out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("grace_period", [0, 2])
def test_everything_at_once(make_running_site: Callable[..., Any], grace_period: int) -> None:
    """Logins, refreshes with the same token, revocations, devices signed out, and cleartokens."""
    devices: list[str | None] = [None, "phone", "laptop"]
    with make_running_site(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=grace_period) as site:
        with _operator(site, SECONDS + 2):
            events = mix(site.address, list(TOKEN_TYPES), devices, SECONDS + 2, seed=grace_period)
        assert_statuses(events, 400)
        assert all(event.data["error"] == "invalid_grant" for event in events if event.status == 400)
        assert {event.kind for event in events if event.status == 200} == {"login", "refresh", "revoke"}
        time.sleep(grace_period)
        assert_sound(site, events)
        assert "Traceback" not in site.errors()


@in_the_long_form
def test_workers_that_are_killed(make_running_site: Callable[..., Any]) -> None:
    """Whatever a worker was doing, every slot is as before or complete, and the service goes on."""
    devices: list[str | None] = [None, "phone", "laptop"]
    with make_running_site() as site:
        ended = threading.Event()

        def kill() -> None:
            while not ended.wait(1.0):
                for worker in site.workers()[:2]:
                    os.kill(worker, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            events = mix(site.address, list(TOKEN_TYPES), devices, SECONDS + 4, seed=7)
        finally:
            ended.set()
            killer.join()
        # Where the connection was dropped the status is 0.
        assert_statuses(events, 0, 400, 503)
        assert any(event.status == 0 for event in events)
        after = log_in_at_once(site.address, "opaque", [*devices] * 8)
        assert_statuses(after)
        assert_sound(site, events + after)
