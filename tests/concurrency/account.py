"""A process beside the site in which something happens to the account of its user."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, DeviceGrant, Grant, RefreshToken

from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import CodeContext, LoginSession
from oauth_binding.storage.codes import note_requested
from oauth_binding.storage.token_values import token_checksum
from tests.concurrency.load import CODE_VERIFIER
from tests.concurrency.site import PASSWORD, REDIRECT_URI, REPOSITORY, USERNAME, RunningSite


def _user() -> User:
    return User.objects.get(username=USERNAME)


def _sign_out_everywhere() -> None:
    sign_out_everywhere(_user())


def _change_password() -> None:
    user = _user()
    user.set_password("another one")
    user.save()


def _deactivate() -> None:
    user = _user()
    user.is_active = False
    user.save()


def _restore() -> None:
    """Make the user active again, with the password from before, and nothing else."""
    User.objects.filter(username=USERNAME).update(is_active=True, password=make_password(PASSWORD))


def _make_codes(client_id: str, number: int) -> list[str]:
    """Make authorization codes, as consent does."""
    application = Application.objects.get(client_id=client_id)
    digest = hashlib.sha256(CODE_VERIFIER.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    codes = [secrets.token_urlsafe(32) for _ in range(number)]
    for code in codes:
        note_requested(code, application, _user(), challenge, "S256")
        Grant.objects.create(
            user=_user(),
            code=code,
            application=application,
            expires=timezone.now() + timedelta(minutes=10),
            redirect_uri=REDIRECT_URI,
            scope="read write",
            code_challenge=challenge,
            code_challenge_method="S256",
        )
    return codes


def _approve_devices(client_id: str, number: int) -> list[str]:
    """Make device codes that the user has approved."""
    grants = [
        DeviceGrant.objects.create(
            user=_user(),
            device_code=secrets.token_urlsafe(32),
            user_code=secrets.token_hex(4),
            client_id=client_id,
            scope="read write",
            status=DeviceGrant.AUTHORIZED,
            interval=5,
            expires=timezone.now() + timedelta(minutes=10),
        )
        for _ in range(number)
    ]
    return [grant.device_code for grant in grants]


def _count_live() -> dict[str, int]:
    """Return how many there are of all that can be used, where there are some."""
    live = {
        "access tokens": AccessToken.objects.filter(expires__gt=timezone.now()),
        "refresh tokens": RefreshToken.objects.filter(revoked__isnull=True),
        "codes": Grant.objects.all(),
        "device codes": DeviceGrant.objects.filter(status=DeviceGrant.AUTHORIZED),
    }
    counts = {name: rows.count() for name, rows in live.items()}
    return {name: count for name, count in counts.items() if count}


def _count_of_ended_sessions() -> dict[str, int]:
    """Return how many there are of all that can be used and came from a login session that has ended."""
    ended = LoginSession.objects.filter(terminated_at__isnull=False)
    contexts = CodeContext.objects.filter(session__in=ended).values_list("digest", flat=True)
    codes = {token_checksum(code) for code in Grant.objects.values_list("code", flat=True)}
    counts = {
        "access tokens": AccessToken.objects.filter(
            expires__gt=timezone.now(), binding_session__in=ended
        ).count(),
        "refresh tokens": RefreshToken.objects.filter(
            revoked__isnull=True, binding_session__in=ended
        ).count(),
        "codes": len(codes & set(contexts)),
    }
    return {name: count for name, count in counts.items() if count}


def _count_sessions() -> int:
    """Return how many login sessions go on."""
    return LoginSession.objects.filter(terminated_at__isnull=True).count()


_TASKS: dict[str, Callable[..., Any]] = {
    task.__name__.removeprefix("_"): task
    for task in (
        _sign_out_everywhere,
        _change_password,
        _deactivate,
        _restore,
        _make_codes,
        _approve_devices,
        _count_live,
        _count_of_ended_sessions,
        _count_sessions,
    )
}


def work() -> None:
    """Do what standard input says, a task a line, and answer when it was done and what it has returned."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        started = time.monotonic()
        result = _TASKS[name](*arguments)
        json.dump([started, time.monotonic(), result], sys.stdout)
        sys.stdout.write("\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class Done:
    """What was done; times are of the machine's monotonic clock, in seconds."""

    started: float
    ended: float
    result: Any


@dataclass
class Account:
    """The process, as its parent sees it: one task at a time."""

    _to: IO[str]
    _from: IO[str]
    _log: Path

    def do(self, task: str, *arguments: Any) -> Done:
        self._to.write(json.dumps([task, *arguments]) + "\n")
        self._to.flush()
        answer = self._from.readline()
        if not answer:
            raise RuntimeError(f"{task} failed:\n{self._log.read_text()}")
        return Done(*json.loads(answer))


@contextmanager
def account_process(site: RunningSite) -> Iterator[Account]:
    """Start a process beside the site, which shares its database."""
    code = "from tests.concurrency.account import work; work()"
    log = site.log.with_name("account.log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "shell", "--no-imports", "-c", code],
            env=site.environment,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Account(process.stdin, process.stdout, log)
    finally:
        process.communicate(timeout=60)
