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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests
from django.db import connection

from tests.concurrency.cluster import nodes, settle
from tests.concurrency.load import Sender, User, exchange_at_once, log_in_at_once, mix, redeem_at_once
from tests.concurrency.races import assert_no_refresh_survives_signing_out
from tests.concurrency.rounds import (
    ROUNDS,
    assert_statuses,
    in_the_long_form,
    in_the_long_form_on_sqlite,
)
from tests.concurrency.site import (
    CLIENT_SECRET,
    DEVICES,
    EXCHANGING,
    REPOSITORY,
    RunningSite,
)
from tests.concurrency.soundness import assert_sound

pytestmark = pytest.mark.slow

TOKEN_TYPES = ("opaque", "jwt")

#: More rounds and longer ones than one wants to wait for every time.
SECONDS = 4.0 * ROUNDS

#: A shell command that restarts the database server, which other tests then miss for a moment.
RESTART = os.environ.get("CONCURRENCY_RESTART", "")

#: Cleans up and signs devices out at random, until its standard input is closed. Says when it is at work, and
#: how many devices it has signed out.
_OPERATOR = """
import random, sys, threading, time
from django.db import OperationalError
from oauth2_provider.models import clear_expired
from oauth_binding.models import TokenBinding
from oauth_binding.authorization_server import revoke_binding
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
signed_out = 0
print("at work", flush=True)
while not ended.is_set():
    try:
        clear_expired()
    except OperationalError as error:
        # DOT locks access tokens first here, and refresh tokens first elsewhere.
        if error.args[0] != 1213:  # MariaDB has given up one of the two
            raise
    bindings = list(TokenBinding.objects.all())
    for binding in random.sample(bindings, min(2, len(bindings))):
        revoke_binding(binding)
        signed_out += 1
    time.sleep(0.05)
print(signed_out)
"""

on_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server")


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_64_simultaneous_requests_for_one_slot(
    running_sites: Callable[..., RunningSite], token_type: str
) -> None:
    site = running_sites()
    for number in range(ROUNDS):
        # The first request ever for a device, then the next for the same one, then one without an id.
        for binding in (f"device {number}", f"device {number}", None):
            events = log_in_at_once(site.address, token_type, [binding] * 64)
            assert_statuses(events)
            settle()
            answered = {event.access for event in events}
            sender = Sender(site.address, token_type)
            active = [token for token in answered if sender.is_active(token)]
            assert len(active) == 1
            assert len(answered) == (1 if token_type == "opaque" else 64)
    assert_sound(site, events)


@in_the_long_form
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_many_devices_at_once(running_sites: Callable[..., RunningSite], token_type: str) -> None:
    devices: list[str | None] = [None, *(f"device {number}" for number in range(12))]
    site = running_sites()
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


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("client_id", [*TOKEN_TYPES, "unbound"])
def test_a_refresh_that_races_with_signing_out_does_not_survive(
    running_sites: Callable[..., RunningSite], client_id: str
) -> None:
    assert_no_refresh_survives_signing_out(running_sites(), client_id)


#: Approves a device code of each application, and returns it by application.
_APPROVE = """
import secrets
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import DeviceGrant
result = {}
for client_id in %r:
    grant = DeviceGrant.objects.create(
        user=User.objects.get(), device_code=secrets.token_urlsafe(32), user_code=secrets.token_hex(4),
        client_id=client_id, scope="read", status=DeviceGrant.AUTHORIZED, interval=5,
        expires=timezone.now() + timedelta(minutes=10),
    )
    result[client_id] = grant.device_code
"""


@in_the_long_form_on_sqlite
def test_64_simultaneous_requests_with_one_device_code(running_sites: Callable[..., RunningSite]) -> None:
    site = running_sites()
    for number in range(ROUNDS):
        for client_id, device_code in site.run(_APPROVE % (DEVICES,)).items():
            # One device 64 times, and 64 devices that have the code.
            names: list[str | None] = [f"device {number}-{n}" if number % 2 else "phone" for n in range(64)]
            events = redeem_at_once(site.address, client_id, names, device_code)
            assert Counter(event.status for event in events) == {200: 1, 400: 63}
            assert {event.data["error"] for event in events if event.status == 400} == {"expired_token"}
    assert "Traceback" not in site.errors()


_INTERVAL = """
from oauth2_provider.models import DeviceGrant
result = DeviceGrant.objects.get(device_code=%r).interval
"""


def test_of_simultaneous_polls_one_is_in_time(running_sites: Callable[..., RunningSite]) -> None:
    site = running_sites()
    client_id = DEVICES[0]
    asked = requests.post(
        f"{site.address}/oauth2/device-authorization/", auth=(client_id, CLIENT_SECRET), timeout=30
    )
    device_code = asked.json()["device_code"]

    for expected in (1, 0):
        settle()
        events = redeem_at_once(site.address, client_id, [None] * 16, device_code)
        told = Counter(event.data["error"] for event in events)
        assert told == +Counter(authorization_pending=expected, slow_down=16 - expected)
    # It grows with each, and is bounded.
    settle()
    assert site.run(_INTERVAL % device_code) == 60
    assert "Traceback" not in site.errors()


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("client_id", EXCHANGING[:2])
def test_64_simultaneous_exchanges_for_one_slot(
    running_sites: Callable[..., RunningSite], client_id: str
) -> None:
    site = running_sites()
    sender = Sender(site.address, client_id)
    subject = Sender(site.address, "opaque").login("phone").access
    settle()
    for number in range(ROUNDS):
        # The first exchange ever for a device, then the next for the same one.
        for binding in (f"device {number}", f"device {number}"):
            events = exchange_at_once(site.address, client_id, [binding] * 64, subject)
            settle()
            assert_statuses(events)
            answered = {event.access for event in events}
            assert len([token for token in answered if sender.is_active(token)]) == 1
            assert len(answered) == (1 if client_id == "exchanging opaque" else 64)
            assert_sound(site, events)
    assert "Traceback" not in site.errors()


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("client_id", EXCHANGING)
def test_an_exchange_that_races_with_revoking_what_it_exchanges_does_not_survive(
    running_sites: Callable[..., RunningSite], client_id: str
) -> None:
    outcomes: set[int] = set()
    site = running_sites()
    with ThreadPoolExecutor(4) as pool:
        user, mobile = User(site.address), Sender(site.address, "opaque")
        senders = [Sender(site.address, client_id) for _ in range(3)]
        for number in range(100 * ROUNDS):
            if number >= 24 * ROUNDS and outcomes == {200, 400}:
                break
            login = mobile.login("phone")
            settle()
            revocations: list[Callable[[], Any]] = [
                partial(mobile.revoke, None, login.access),
                partial(mobile.revoke, None, login.data["refresh_token"]),
                partial(user.sign_out, "opaque"),
            ]
            revoke = revocations[number % 3]
            # Now the one, now the other comes first, and more or less soon.
            delay = 0.005 * (number % 8)
            revoking = pool.submit(revoke) if number % 2 else None
            time.sleep(delay if revoking else 0)
            exchanges = [pool.submit(sender.exchange, "device", login.access) for sender in senders]
            time.sleep(0 if revoking else delay)
            (revoking or pool.submit(revoke)).result()
            events = [exchange.result() for exchange in exchanges]
            settle()
            assert_statuses(events, 400)
            assert {event.data["error"] for event in events if event.status == 400} <= {"invalid_grant"}
            outcomes |= {event.status for event in events}
            answered = [event.data for event in events if event.status == 200]
            assert [data for data in answered if senders[0].is_active(data["access_token"])] == []
            refresh_tokens = {data["refresh_token"] for data in answered}
            assert {senders[0].refresh(None, token).status for token in refresh_tokens} <= {400}
        assert "Traceback" not in site.errors()
    assert outcomes == {200, 400}


@contextmanager
def _operator(site: RunningSite) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "shell", "--no-imports", "-c", _OPERATOR],
        env={**site.environment, **({"CONCURRENCY_NODE": nodes()[-1]} if nodes() else {})},
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        # Empty if it could not begin; then it says below why.
        process.stdout.readline()
        yield
    finally:
        signed_out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert int(signed_out) > 0


@pytest.mark.parametrize("grace_period", [0, 2])
def test_everything_at_once(running_sites: Callable[..., RunningSite], grace_period: int) -> None:
    """Logins, refreshes with the same token, revocations, devices signed out, and cleartokens."""
    devices: list[str | None] = [None, "phone", "laptop"]
    site = running_sites(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=grace_period)
    with _operator(site):
        events = mix(site.address, list(TOKEN_TYPES), devices, rounds=25 * ROUNDS, seed=grace_period)
    assert_statuses(events, 400)
    assert all(event.data["error"] == "invalid_grant" for event in events if event.status == 400)
    assert {event.kind for event in events if event.status == 200} == {"login", "refresh", "revoke"}
    time.sleep(grace_period)
    assert_sound(site, events)
    assert "Traceback" not in site.errors()


@on_a_server
@in_the_long_form
def test_workers_that_are_killed(running_sites: Callable[..., RunningSite]) -> None:
    """Whatever a worker was doing, every slot is as before or complete, and the service goes on."""
    devices: list[str | None] = [None, "phone", "laptop"]
    site = running_sites()
    ended = threading.Event()

    def kill() -> None:
        sender = Sender(site.address, "opaque")
        while not ended.wait(1.0):
            for worker in site.workers()[:2]:
                os.kill(worker, signal.SIGKILL)
            # The next ones once the service is back, however long a worker takes to start here.
            answered = 0
            while answered < 8 and not ended.is_set():
                answered += sender.login("killer").status == 200

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        events = mix(site.address, list(TOKEN_TYPES), devices, rounds=25, seed=7, seconds=SECONDS + 4)
    finally:
        ended.set()
        killer.join()
    # Where the connection was dropped the status is 0.
    assert_statuses(events, 0, 400, 503)
    assert any(event.status == 0 for event in events)
    after = log_in_at_once(site.address, "opaque", [*devices] * 8)
    assert_statuses(after)
    assert_sound(site, events + after)


@on_a_server
@pytest.mark.skipif(not RESTART, reason="set CONCURRENCY_RESTART to a command that restarts the server")
def test_database_that_is_restarted(running_sites: Callable[..., RunningSite]) -> None:
    """During the gap clients see server errors at worst; then service comes back by itself."""
    devices: list[str | None] = [None, "phone", "laptop"]
    site = running_sites()
    restart = threading.Timer(4.0, subprocess.run, [RESTART], {"shell": True, "check": True})
    restart.start()
    events = mix(site.address, list(TOKEN_TYPES), devices, rounds=25, seed=11, seconds=SECONDS + 10)
    restart.join()
    assert_statuses(events, 0, 400, 500, 503)
    assert any(event.status in {500, 503} for event in events)
    after = log_in_at_once(site.address, "opaque", [*devices] * 8)
    assert_statuses(after)
    assert_sound(site, events + after)
