"""A gunicorn that serves the example project from a scratch database."""

from __future__ import annotations

import json
import os
import secrets
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
from tests.helpers.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
#: SQLite is used by the threads of one process.
# Idle connections are kept, because one that is closed just when a request comes looks like a lost answer.
THREADS = ["--threads", "16", "--keep-alive", "75", "--graceful-timeout", "1"]
SERVING = THREADS if connection.vendor == "sqlite" else []
WORKERS = "1" if connection.vendor == "sqlite" else "4"

CLIENT_SECRET = "a-client-secret-of-some-length"
USERNAME, PASSWORD = "alice", "correct horse battery staple"

#: The applications that log in with a password: of each type of token, bound and not.
LOGGING_IN = ("opaque", "jwt", "unbound", "jwt unbound")

#: The applications that may exchange the tokens of "opaque", one per kind of token.
EXCHANGING = ("exchanging opaque", "exchanging jwt", "exchanging unbound")

#: The applications of devices without a browser (RFC 8628), one per kind of token.
DEVICES = ("device opaque", "device jwt", "device unbound")

#: The applications that redeem authorization codes, one per kind of token, and where these are sent.
REDEEMING = ("redeeming opaque", "redeeming jwt", "redeeming unbound")
REDIRECT_URI = "https://client.example/callback"

#: The applications that honour proofs (RFC 9449), one per kind of token; the last is a public client.
PROVING = ("dpop opaque", "dpop jwt", "dpop unbound", "dpop jwt unbound", "dpop opaque public")

#: The applications whose tokens end with the browser's login, one per kind of token.
FOLLOWING = ("following opaque", "following jwt", "following unbound", "session opaque", "session jwt")

#: The applications that allow a user so many devices, by what becomes of one more and the kind of token.
LIMITING = ("evict opaque", "evict jwt", "refuse opaque", "refuse jwt")
MAX_DEVICES = 5

#: What the site starts with. The client_id of an application says what its tokens are.
_POPULATE = f"""
from django.contrib.auth.models import User
from oauth2_provider.models import Application
from oauth_binding.models import TokenExchangeRule, TokenPolicy
User.objects.create_user({USERNAME!r}, password={PASSWORD!r})
def make(name, **fields):
    kinds = name.split()
    return Application.objects.create(
        name=name, client_id=name, client_secret={CLIENT_SECRET!r}, hash_client_secret=False,
        client_type="public" if "public" in kinds else "confidential",
        token_type="jwt" if "jwt" in kinds else "opaque",
        token_binding_type=(
            "none" if "unbound" in kinds else "sso-session" if "session" in kinds else "client-request"
        ),
        **fields,
    )
opaque, *_others = [make(name, authorization_grant_type="password") for name in {LOGGING_IN!r}]
proving = [make(name, authorization_grant_type="password") for name in {PROVING!r}]
for application in proving:
    TokenPolicy.objects.create(application=application, sender_constraint="dpop")
for name in {LIMITING!r}:
    application = make(name, authorization_grant_type="password")
    TokenPolicy.objects.create(
        application=application, max_devices={MAX_DEVICES}, device_limit_action=name.split()[0]
    )
for name in {EXCHANGING!r}:
    client = make(name, authorization_grant_type="token-exchange")
    for subject_client in (opaque, *proving):
        TokenExchangeRule.objects.create(
            client=client, subject_client=subject_client, impersonation=True, refresh_tokens=True
        )
for name in {DEVICES!r}:
    make(name, authorization_grant_type="urn:ietf:params:oauth:grant-type:device_code")
for name in {REDEEMING!r}:
    make(name, authorization_grant_type="authorization-code", redirect_uris={REDIRECT_URI!r})
for name in {FOLLOWING!r}:
    application = make(
        name, authorization_grant_type="authorization-code", redirect_uris={REDIRECT_URI!r},
        skip_authorization=True,
    )
    if "following" in name:
        TokenPolicy.objects.create(application=application, revoke_on_logout="session")
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
    #: What else is in the environment of the workers, and not of who looks behind them.
    of_workers: dict[str, str] = field(default_factory=dict, repr=False)
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
def running_site(
    directory: Path, *, binding: dict[str, Any] | None = None, **provider: Any
) -> Iterator[RunningSite]:
    """Serve the site from an empty database.

    :param directory: for the log, and for the database where that is a file.
    :param binding: entries of OAUTH_BINDING.
    :param provider: entries of OAUTH2_PROVIDER.
    """
    is_file = connection.vendor == "sqlite"
    database = str(directory / "site.sqlite3") if is_file else f"oauth_binding_{secrets.token_hex(8)}"
    with nullcontext() if is_file else _scratch_database(database):
        site = prepare_site(database, directory, binding=binding, **provider)
        settle()
        with _serving(site):
            yield site


def prepare_site(
    database: str,
    directory: Path,
    *,
    variables: dict[str, str] | None = None,
    binding: dict[str, Any] | None = None,
    **provider: Any,
) -> RunningSite:
    """Make the tables of the site, and what it starts with; ``another_server`` serves it.

    :param database: the name of a database that is there, and empty.
    :param directory: for the log.
    :param variables: what else is in the environment.
    :param binding: entries of OAUTH_BINDING.
    :param provider: entries of OAUTH2_PROVIDER.
    """
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.concurrency.settings",
        "CONCURRENCY_DATABASE": database,
        "CONCURRENCY_PROVIDER": json.dumps(provider),
        "CONCURRENCY_BINDING": json.dumps(binding or {}),
        "OIDC_RSA_PRIVATE_KEY": str(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]),
        **(variables or {}),
    }
    site = _at_free_port(directory / "gunicorn.log", environment)
    site.manage("migrate", "--verbosity", "0")
    site.manage("shell", "--no-imports", "-c", _POPULATE)
    return site


@contextmanager
def another_server(site: RunningSite, name: str, **variables: str) -> Iterator[RunningSite]:
    """Serve a site from its database once more, as another host would.

    :param name: of the server's log.
    :param variables: what else is in its environment.
    """
    server = _at_free_port(site.log.with_name(f"{name}.log"), {**site.environment, **variables})
    server.of_workers = site.of_workers
    with _serving(server):
        yield server


def _at_free_port(log: Path, environment: dict[str, str]) -> RunningSite:
    return RunningSite(f"http://127.0.0.1:{free_port()}", None, log, environment)  # type: ignore[arg-type]


@contextmanager
def _serving(site: RunningSite) -> Iterator[None]:
    command = [sys.executable, "-m", "gunicorn", "example_project.wsgi:application", *SERVING]
    command += ["--bind", site.address.removeprefix("http://"), "--log-level", "error"]
    command += ["--config", "python:tests.concurrency.workers"]
    with site.log.open("ab") as output:
        site.process = subprocess.Popen(
            command,
            env={"WEB_CONCURRENCY": WORKERS, **site.environment, **site.of_workers},
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(site)
        yield
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
