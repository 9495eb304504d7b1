"""What adding the app, pruning bindings and removing the app do to a large site that is in use.

    TEST_DATABASE=postgresql python -m benchmarks.live_site [--rows 1000000]

A site with plain django-oauth-toolkit gets that many access and refresh tokens. While the app's migrations
are applied one by one, a process with the old code logs somebody in again and again. Printed are the seconds
that each step takes, the longest that a login meanwhile waited, and how many failed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

BATCH = 10_000
MIGRATIONS = [f"{number:04}" for number in range(1, 6)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.live_site_settings"
    with tempfile.TemporaryDirectory() as directory, _scratch_database(Path(directory)) as version:
        print(f"{version}, {rows:,} access tokens, {rows:,} refresh tokens")
        _in_the_site(fill, rows, BENCHMARK_PLAIN="1")
        print(f"{'step':34}{'seconds':>9}{'longest login':>15}{'logins':>8}{'failed':>8}")
        for migration in MIGRATIONS:
            _measure(f"migrate oauth_binding {migration}", migrate, migration)
        _in_the_site(fill_bindings, rows)
        print(f"and {rows:,} unused bindings, every tenth with a token")
        _measure("clearbindings --dry-run", clear_bindings, True)
        _measure("clearbindings", clear_bindings, False)
        _measure("migrate oauth_binding zero", migrate, "zero")


@contextmanager
def _scratch_database(directory: Path) -> Iterator[str]:
    database = os.environ.get("TEST_DATABASE", "sqlite")
    if database == "sqlite":
        os.environ["BENCHMARK_DATABASE"] = str(directory / "site.sqlite3")
        yield _in_the_site(version)
        return
    _in_the_site(execute, "DROP DATABASE IF EXISTS oauth_binding_benchmark")
    _in_the_site(execute, "CREATE DATABASE oauth_binding_benchmark")
    try:
        yield _in_the_site(version)
    finally:
        _in_the_site(execute, "DROP DATABASE oauth_binding_benchmark")


def _command(function: Callable[..., Any], *arguments: Any) -> list[str]:
    return [sys.executable, "-m", "benchmarks.live_site", "--", function.__name__, json.dumps(arguments)]


def _in_the_site(function: Callable[..., Any], *arguments: Any, **environment: str) -> Any:
    """Call one of the functions below in a process of its own, and return what it returned."""
    command = _command(function, *arguments)
    result = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def _measure(name: str, function: Callable[..., Any], *arguments: Any) -> None:
    with subprocess.Popen(
        _command(log_in),
        env={**os.environ, "BENCHMARK_PLAIN": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as logins:
        assert logins.stdout is not None
        logins.stdout.readline()  # it has begun
        try:
            seconds = _in_the_site(function, *arguments)
        finally:
            output, _errors = logins.communicate("")
    longest, number, failed = json.loads(output.splitlines()[-1])
    print(f"{name:34}{seconds:9.1f}{longest:15.2f}{number:8}{failed:8}", flush=True)


# What runs in the site's processes.


def version() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SELECT version()")
        return f"{connection.display_name} {cursor.fetchone()[0]}"


def execute(statement: str) -> None:
    from django.db import connection

    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def fill(rows: int) -> None:
    """Migrate plain django-oauth-toolkit, and make the tokens."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import transaction
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    call_command("migrate", verbosity=0)
    user = User.objects.create_user("alice", password="password")
    application = Application.objects.create(
        name="client", client_type="confidential", authorization_grant_type="password"
    )
    expires = timezone.now() + timedelta(days=1)
    common = {"user": user, "application": application}
    access = {**common, "expires": expires, "scope": "read write"}
    for _ in range(0, rows, BATCH):
        with transaction.atomic():
            AccessToken.objects.bulk_create(
                [AccessToken(token=secrets.token_urlsafe(22), **access) for _ in range(BATCH)]
            )
            newest = AccessToken.objects.order_by("-pk").values_list("pk", flat=True)[:BATCH]
            RefreshToken.objects.bulk_create(
                [
                    RefreshToken(token=secrets.token_urlsafe(22), access_token_id=access_token, **common)
                    for access_token in newest
                ]
            )


def fill_bindings(rows: int) -> None:
    """Make bindings that have not been used for a year; every tenth holds an access token."""
    from django.db import transaction
    from django.db.models import F
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application

    from oauth_binding.models import TokenBinding

    application = Application.objects.get()
    common = {"application_id": application.pk, "user_id": application.user_id}
    for start in range(0, rows, BATCH):
        with transaction.atomic():
            TokenBinding.objects.bulk_create(
                [
                    TokenBinding(
                        binding_type="client-request",
                        binding_value=f"device {number}",
                        key=secrets.token_hex(32),
                        **common,
                    )
                    for number in range(start, min(start + BATCH, rows))
                ]
            )
    long_ago = timezone.now() - timedelta(days=365)
    first = TokenBinding.objects.order_by("pk").first()
    assert first is not None
    TokenBinding.objects.update(last_used=long_ago)
    bound = AccessToken.objects.filter(pk__lte=rows // 10)
    bound.update(binding_id=F("pk") * 10 + first.pk - 10)


def migrate(target: str) -> float:
    from django.core.management import call_command
    from django.db import connection

    connection.ensure_connection()
    started = time.perf_counter()
    call_command("migrate", "oauth_binding", target, verbosity=0)
    return time.perf_counter() - started


def clear_bindings(dry_run: bool) -> float:
    from django.core.management import call_command
    from django.db import connection

    connection.ensure_connection()
    started = time.perf_counter()
    call_command("clearbindings", dry_run=dry_run, stdout=sys.stderr)
    return time.perf_counter() - started


def log_in() -> tuple[float, int, int]:
    """Log in until the standard input ends.

    Return the longest wait in seconds, the number of logins, and how many failed.
    """
    import threading

    from django.db import Error
    from django.test import Client
    from oauth2_provider.models import Application

    application = Application.objects.get()
    application.client_secret, application.hash_client_secret = "secret", False
    application.save()
    form = {"grant_type": "password", "username": "alice", "password": "password"}
    form |= {"client_id": application.client_id, "client_secret": "secret"}
    client = Client(raise_request_exception=False)
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    print("begun", flush=True)
    longest, number, failed = 0.0, 0, 0
    while not ended.wait(0.01):
        started = time.perf_counter()
        try:
            failed += client.post("/oauth2/token/", form).status_code != 200
        except Error:
            failed += 1
        longest = max(longest, time.perf_counter() - started)
        number += 1
    return longest, number, failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--"]:
        import django

        django.setup()
        print(json.dumps(globals()[sys.argv[2]](*json.loads(sys.argv[3]))))
    else:
        main()
