"""Small factories: applications, users, and a client that speaks OAuth to the site over HTTP."""

from __future__ import annotations

import gc
import itertools
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import setting_changed
from django.db import connection
from django.db.models import F
from django.dispatch import receiver

from oauth_binding.authorization_server.endpoints import revocation_feed
from oauth_binding.binding.semantics import SHARED
from oauth_binding.core.toolkit_paths import OAuthLibCoreMixin
from oauth_binding.models import TokenBinding
from tests.helpers.client import GRANTS, PASSWORD, REDIRECT_URI, SECRET, Site, create_application
from tests.helpers.project import Project

#: What is about Django REST framework is not collected where it is not installed.
collect_ignore = ["contrib", "resource_server"] if find_spec("rest_framework") is None else []


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what stays: modules and ten thousand tests, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server's feed be that of a new process: what it keeps is of rows that are gone."""
    monkeypatch.setattr(revocation_feed, "_kept", revocation_feed._Kept())


@pytest.fixture
def feed_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server look into its tables at each request of the feed, as if a second had passed."""
    monkeypatch.setattr(revocation_feed, "LOOK_UP_INTERVAL", 0)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Have a process of pytest-xdist's tell the one that writes the summary."""
    output = getattr(items[0].config, "workeroutput", None) if items else None
    if output is not None:
        output["deselected"] = output.get("deselected", 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add to the summary how many tests were deselected, which each process has found for itself."""
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    deselected = getattr(node, "workeroutput", {}).get("deselected", 0)
    if reporter is not None and not reporter.stats.get("deselected"):
        reporter.stats["deselected"] = [SimpleNamespace() for _ in range(deselected)]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say of each page of the documentation how many of its blocks ran (tests/docs)."""
    lines = {
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "documentation"
    }
    if lines:
        terminalreporter.section("blocks of code in the documentation")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@receiver(setting_changed)
def _forget_oauthlib_cores(setting: str, **kwargs: Any) -> None:
    """Forget what django-oauth-toolkit keeps on the classes of views: a process has one OAUTH2_PROVIDER."""
    pending = [OAuthLibCoreMixin] if setting == "OAUTH2_PROVIDER" else []
    for view in pending:
        pending += view.__subclasses__()
        for core in {"_oauthlib_core", "own_core"} & vars(view).keys():
            delattr(view, core)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Empty tables of PostgreSQL row by row where a test commits: it leaves few, and new files take long."""
    if connection.vendor != "postgresql":
        yield
        return
    kind = type(connection.ops)
    truncate = kind.sql_flush

    def sql_flush(
        self: Any, style: Any, tables: Sequence[str], *, reset_sequences: bool = False, **options: Any
    ) -> list[str]:
        if reset_sequences:  # `manage.py flush`, which a test calls itself
            return truncate(self, style, tables, reset_sequences=True, **options)
        # In any order: foreign keys are looked at when the transaction ends.
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "sql_flush", sql_flush)
        yield


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("alice", "alice@example.com", PASSWORD)


@pytest.fixture
def make_database(tmp_path: Path, django_db_blocker: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Return a factory of empty databases on the server that the suite runs on."""
    names = []

    def make() -> dict[str, Any]:
        name = f"oauth_binding_{secrets.token_hex(8)}"
        names.append(name)
        database: dict[str, Any] = {**connection.settings_dict, "NAME": name}
        if connection.vendor == "sqlite":
            database["NAME"] = str(tmp_path / f"{name}.sqlite3")
            # Nothing here has to survive a power cut.
            database["OPTIONS"] = {
                **database["OPTIONS"],
                "timeout": 20,
                "init_command": "PRAGMA synchronous = OFF",
            }
        else:
            with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        return database

    yield make
    if connection.vendor != "sqlite":
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            for name in names:
                cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def project(tmp_path: Path, make_database: Callable[[], dict[str, Any]]) -> Iterator[Project]:
    """Return a site of its own, whose processes end before its databases go."""
    project = Project(tmp_path)
    yield project
    project.end()


_numbers = itertools.count()


@pytest.fixture
def make_site(user: User) -> Callable[..., Site]:
    """Return a factory of client applications; keyword arguments are fields of them and their policies."""

    def make(grant_type: str = "password", *, as_user: User | None = user, **fields: Any) -> Site:
        kind = GRANTS.get(grant_type, grant_type)
        application = create_application(
            **{
                "name": f"application {next(_numbers)}",
                "client_type": "confidential",
                "authorization_grant_type": kind,
                "client_secret": SECRET,
                "hash_client_secret": False,
                "redirect_uris": REDIRECT_URI,
                "algorithm": "RS256",
                **fields,
            }
        )
        return Site(application, as_user)

    return make


@pytest.fixture
def named_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let devices be called by their binding values, as if each user had named them so."""
    bound = Site.bound

    def bound_and_named(site: Site, binding: str | None, **extra: Any) -> Any:
        answer = bound(site, binding, **extra)
        TokenBinding.objects.filter(name="").exclude(binding_value=SHARED).update(name=F("binding_value"))
        return answer

    monkeypatch.setattr(Site, "bound", bound_and_named)


@pytest.fixture
def make_bound(make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Return a factory of client applications with client-request binding."""

    def make(token_type: str = "opaque", grant_type: str = "password", **fields: Any) -> Site:
        return make_site(
            grant_type, **{"token_type": token_type, "token_binding_type": "client-request", **fields}
        )

    return make
