"""Logout tokens between processes: of senders at the same moment, and of those that are killed."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from joserfc.jws import extract_compact

from tests.helpers.client import create_application
from tests.helpers.logouts import THIS_MACHINE, log_out, read_logout_token, wait_for_next_attempt
from tests.helpers.project import ROOT, Project, migrate
from tests.helpers.servers import send, serve

pytestmark = pytest.mark.slow

SENDERS = 4
ROWS = 100


def end_sessions(uri: str, number: int) -> None:
    """Log a new user out in so many browsers; an application at an address is to be told."""
    from django.contrib.auth.models import User

    application = create_application(
        authorization_grant_type="authorization-code", algorithm="RS256", backchannel_logout_uri=uri
    )
    log_out(User.objects.create_user("alice"), [application], sessions=number)


def let_time_pass() -> None:
    wait_for_next_attempt()


@pytest.fixture
def site(project: Project, make_database: Callable[[], dict[str, Any]]) -> Project:
    """A site with an empty database on the server that the suite runs on."""
    project.write_settings("telling", f"OAUTH_BINDING = {THIS_MACHINE!r}", default=make_database())
    project.call("telling", migrate)
    return project


def start_sending(site: Project) -> subprocess.Popen[str]:
    return site.start("telling", "-m", "django", "sendlogouts")


def counts(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Return how many a sender says it has delivered, how many have failed, and how many are left."""
    printed, _ = process.communicate(timeout=60)
    match = re.search(r"^(\d+) logout tokens delivered, (\d+) failed, (\d+) left\.$", printed, re.MULTILINE)
    assert process.returncode == 0, printed
    assert match, printed
    delivered, failed, left = map(int, match.groups())
    return delivered, failed, left


def jti(token: str) -> str:
    return str(json.loads(extract_compact(token.encode()).payload)["jti"])


def test_senders_at_the_same_moment_send_each_token_once(site: Project) -> None:
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(jti(read_logout_token(handler)))
        time.sleep(0.2)  # so that all of them have begun before one is through
        send(handler, b"")

    with serve(answer) as address:
        site.call("telling", end_sessions, f"{address}/logout", ROWS)
        found = [counts(process) for process in [start_sending(site) for _ in range(SENDERS)]]

    assert len(seen) == len(set(seen)) == ROWS
    delivered = [each for each, _failed, _left in found]
    assert sum(delivered) == ROWS
    assert sum(failed for _delivered, failed, _left in found) == 0
    assert sum(each > 0 for each in delivered) > 1


def test_a_sender_that_is_killed_while_it_sends(site: Project) -> None:
    seen: list[str] = []
    arrived, released = threading.Event(), threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(jti(read_logout_token(handler)))
        arrived.set()
        released.wait(60)
        send(handler, b"")

    with serve(answer) as address:
        site.call("telling", end_sessions, f"{address}/logout", 1)
        sender = start_sending(site)
        assert arrived.wait(60)
        sender.send_signal(signal.SIGKILL)
        sender.communicate()
        released.set()

        # It is the killed one's for a while: it can't be told from one that is still sending.
        assert counts(start_sending(site)) == (0, 0, 1)
        site.call("telling", let_time_pass)
        assert counts(start_sending(site)) == (1, 0, 0)
        assert counts(start_sending(site)) == (0, 0, 0)

    # What the killed one had sent already, the application knows by the jti.
    first, second = seen
    assert first == second


@contextmanager
def relying_party(port: int, seen: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve an application at a port by a process of its own."""
    command = [sys.executable, "-m", "tests.helpers.logouts", str(port), str(seen), *more]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        _wait_for(port)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_an_application_that_is_killed_while_it_is_told(site: Project, tmp_path: Path) -> None:
    """It is told once it is back, once of each logout."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen = tmp_path / "seen"
    site.call("telling", end_sessions, f"http://127.0.0.1:{port}/logout", 3)

    with relying_party(port, seen, "dies") as process:
        delivered, failed, left = counts(start_sending(site))
        assert process.wait(60) == -signal.SIGKILL
    assert (delivered, left) == (0, 3)
    assert failed == 3
    assert not seen.exists()

    # It stays away for a while.
    site.call("telling", let_time_pass)
    assert counts(start_sending(site)) == (0, 3, 3)

    with relying_party(port, seen):
        site.call("telling", let_time_pass)
        assert counts(start_sending(site)) == (3, 0, 0)
        assert counts(start_sending(site)) == (0, 0, 0)

    told = [jti(line) for line in seen.read_text().splitlines()]
    assert len(told) == len(set(told)) == 3
