"""A gunicorn that serves the example project from a scratch database."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.db import connection

from tests.concurrency.cluster import on_first_node, settle

REPOSITORY = Path(__file__).resolve().parents[2]
#: SQLite is used by the threads of one process.
# Idle connections are kept, because one that is closed just when a request comes looks like a lost answer.
THREADS = ["--threads", "16", "--keep-alive", "75", "--graceful-timeout", "1"]
WORKERS = THREADS if connection.vendor == "sqlite" else ["--workers", "4"]

CLIENT_SECRET = "a-client-secret-of-some-length"
USERNAME, PASSWORD = "alice", "correct horse battery staple"

#: The applications that may exchange the tokens of "opaque", one per kind of token.
EXCHANGING = ("exchanging opaque", "exchanging jwt", "exchanging unbound")

#: The applications of devices without a browser (RFC 8628), one per kind of token.
DEVICES = ("device opaque", "device jwt", "device unbound")

#: What the site starts with: an application per token type, whose client_id is the type's name, and one
#: without binding; those that exchange tokens; and those of devices.
_POPULATE = f"""
from django.contrib.auth.models import User
from oauth2_provider.models import Application
from oauth_binding.models import TokenExchangeRule
User.objects.create_user({USERNAME!r}, password={PASSWORD!r})
def make(name, **fields):
    kind = name.split()[-1]
    return Application.objects.create(
        name=name, client_id=name, client_secret={CLIENT_SECRET!r}, hash_client_secret=False,
        client_type="confidential", token_type="jwt" if kind == "jwt" else "opaque",
        token_binding_type="none" if kind == "unbound" else "client-request", **fields,
    )
opaque, *_others = [make(name, authorization_grant_type="password") for name in ("opaque", "jwt", "unbound")]
for name in {EXCHANGING!r}:
    TokenExchangeRule.objects.create(
        client=make(name, authorization_grant_type="token-exchange"),
        subject_client=opaque, impersonation=True, refresh_tokens=True,
    )
for name in {DEVICES!r}:
    make(name, authorization_grant_type="urn:ietf:params:oauth:grant-type:device_code")
"""

_EMPTY = """
from oauth2_provider.models import AccessToken, RefreshToken
from oauth_binding.models import TokenBinding, TokenExchange
models = (RefreshToken, AccessToken, TokenExchange, TokenBinding)
result = [model.objects.all().delete()[0] for model in models]
"""


@dataclass
class RunningSite:
    """Where the site is, and how to look behind it."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str] = field(repr=False)
    #: How much of the log is from before.
    _seen: int = 0

    def manage(self, *arguments: str) -> str:
        """Run a management command against the site's database, and return what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def run(self, code: str) -> Any:
        """Run Python code in the site, and return what it assigned to ``result``."""
        return json.loads(
            self.manage("shell", "--no-imports", "-c", f"{code}\nimport json; print(json.dumps(result))")
        )

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        printed = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], check=False, capture_output=True, text=True
        ).stdout
        return [int(line) for line in printed.split()]

    def empty(self) -> None:
        """Forget all tokens and bindings, and what was logged; its file keeps it."""
        self.run(_EMPTY)
        settle()
        self._seen = self.log.stat().st_size

    def errors(self) -> str:
        """Return what the workers have logged."""
        return self.log.read_bytes()[self._seen :].decode(errors="replace")


@contextmanager
def running_site(directory: Path, **provider: Any) -> Iterator[RunningSite]:
    """Serve the site from an empty database.

    :param directory: for the log, and for the database where that is a file.
    :param provider: entries of OAUTH2_PROVIDER.
    """
    is_file = connection.vendor == "sqlite"
    database = str(directory / "site.sqlite3") if is_file else f"oauth_binding_{secrets.token_hex(8)}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.concurrency.settings",
        "CONCURRENCY_DATABASE": database,
        "CONCURRENCY_PROVIDER": json.dumps(provider),
        "OIDC_RSA_PRIVATE_KEY": str(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]),
    }
    with nullcontext() if is_file else _scratch_database(database):
        port = _free_port()
        address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "gunicorn", "example_project.wsgi:application"]
        command += [*WORKERS, "--bind", address, "--log-level", "error"]
        command += ["--config", "python:tests.concurrency.workers"]
        log = directory / "gunicorn.log"
        site = RunningSite(f"http://{address}", None, log, environment)  # type: ignore[arg-type]
        site.manage("migrate", "--verbosity", "0")
        site.manage("shell", "--no-imports", "-c", _POPULATE)
        settle()
        with log.open("ab") as output:
            site.process = subprocess.Popen(
                command, env=environment, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            _wait_for(site)
            yield site
        finally:
            site.process.terminate()
            site.process.wait(timeout=30)


@contextmanager
def _scratch_database(name: str) -> Iterator[None]:
    # In autocommit: PostgreSQL creates no database in a transaction.
    server = on_first_node()
    quoted = connection.ops.quote_name(name)
    suffix = " CHARACTER SET utf8mb4" if connection.vendor == "mysql" else ""

    def execute(statement: str) -> None:
        with server._nodb_cursor() as cursor:
            cursor.execute(statement)

    execute(f"CREATE DATABASE {quoted}{suffix}")
    try:
        yield
    finally:
        force = " WITH (FORCE)" if connection.vendor == "postgresql" else ""
        execute(f"DROP DATABASE {quoted}{force}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(site: RunningSite) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests.get(f"{site.address}/oauth2/.well-known/jwks.json", timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            if site.process.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"gunicorn did not start:\n{site.errors()}")
