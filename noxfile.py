"""The tasks of contributors, of which .ci/run is made: ``nox --list`` says which there are.

They run in the environment that nox is in, but for those that need another one. What follows ``--`` goes to
pytest in place of the tests that are chosen here::

    .venv/bin/nox -s postgresql -- tests/storage
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import nox

nox.options.sessions = ["lint", "types", "migrations", "tests"]

#: Files and folders below ``tests/``, or one test of a file.
Tests = tuple[str, ...]

#: What takes long, and starts servers, browsers or processes of its own on SQLite, or asks no database.
SLOW: Final[Tests] = (
    "browser",
    "clients",
    "docs",
    "checklists",
    "house",
    "core",
    "management",
    "resource_server",
    "contrib",
    "authorization_server/signing",
    "sites/test_companions.py",
    "sites/test_logout_tasks.py",
    "sites/test_sessions.py",
    "cluster/test_redis.py",
)

#: Of these, what .ci/full alone runs.
SLOWEST: Final[Tests] = (
    "browser/test_sizes_of_the_console.py",
    "browser/test_devices_page.py",
    "docs/test_brute_force.py",
)

#: What starts the example project on SQLite whatever the suite runs on, asks no database, or nothing in which
#: databases differ.
ELSEWHERE: Final[Tests] = (
    "browser",
    "clients",
    "sites/test_demo.py",
    "resource_server",
    "contrib",
    "console/test_lookups.py",
    "authorization_server/exchange/test_foreign_tokens.py",
    "authorization_server/signing/test_signing_keys.py",
    "authorization_server/toolkit/test_client_secrets.py",
    "house",
    "core/test_fetching.py",
    "sites/test_first_request.py",
    "authorization_server/endpoints/test_parameters.py",
    "authorization_server/endpoints/test_error_reports.py",
    "authorization_server/endpoints/test_errors.py",
    "authorization_server/endpoints/test_metadata.py",
    "sites/test_namespaces.py",
    "sites/test_companions.py",
    "authorization_server/issuing/test_openid_without_algorithm.py",
    "ended/test_demands.py",
    "checklists",
    "docs",
)

#: What asks all databases the same simple questions, or takes minutes: .ci/full runs it on each of them.
ALIKE: Final[Tests] = (
    "binding",
    "models",
    "sites/test_plain_toolkit.py",
    "sites/test_clients.py",
    "checks",
    "console/test_token_policies.py",
    "console/test_audiences_and_claims.py",
    "core/test_settings.py",
    "core/test_signals.py",
    "authorization_server/toolkit",
    "authorization_server/signing",
    "authorization_server/endpoints/test_registration.py",
    "authorization_server/endpoints/test_preflight.py",
    "authorization_server/endpoints/test_userinfo.py",
    "authorization_server/issuing/test_audiences.py",
    "authorization_server/issuing/test_narrowing.py",
    "authorization_server/issuing/test_pkce.py",
    "authorization_server/issuing/test_site_validators.py",
    "authorization_server/issuing/test_withdrawn_scopes.py",
    "authorization_server/issuing/test_reported_demands.py",
    "authorization_server/endpoints/test_introspection.py",
    "authorization_server/endpoints/test_authorization.py",
    "authorization_server/exchange/test_bad_input.py",
    "ended/test_dpop_header.py",
    "authorization_server/issuing/test_within_the_grant.py",
    "proof/test_fuzzing.py",
    "proof/test_nonces.py",
    "proof/test_rfc9449_examples.py",
    "proof/test_table.py",
    "proof/test_target_uri.py",
    "proof/test_verify.py",
    "authorization_server/revocation/test_many_devices.py::test_20000_devices",
    "devices/test_many_devices.py::test_a_slice_is_that_of_the_whole",
    "sites/test_sessions.py",
    "sites/test_logout_tasks.py",
    "management/test_createapplication.py",
    "authorization_server/backchannel/test_addresses.py",
    "console/test_whole_id.py",
    "console/test_logout_notifications.py",
    "console/test_login_sessions.py",
    "management",
    "sites/test_next_toolkit.py",
    "sites/test_toolkit_upgrade.py",
    "cluster",
    "concurrency/test_clocks.py",
)

#: Walks through many states, tables and pages, which take long and have run on another server.
WALKS: Final[Tests] = (
    "console/test_admin.py",
    "console/test_admin_sites.py",
    "console/test_exports.py",
    "console/test_history.py",
    "console/test_what_devices_look_like.py",
    "devices/test_personal_data.py",
    "sites/test_swapped_models.py",
    "ended/test_browsers.py",
    "authorization_server/issuing/test_state_machine.py",
    "authorization_server/issuing/test_within_the_grant.py",
    "ended/test_logout.py",
    "ended/test_table.py",
)

#: What newer and older packages change little of, and takes a while.
LONG: Final[Tests] = (
    "cluster",
    "concurrency",
    "ended",
    "browser",
    "sites/test_demo.py",
    "sites/test_adoption.py",
    "sites/test_toolkit_upgrade.py",
    "sites/test_routers.py",
    "sites/test_swapped_models.py",
    "sites/test_first_request.py",
    "checklists",
    "authorization_server/issuing/test_within_the_grant.py",
    "authorization_server/endpoints/test_parameters.py",
    "authorization_server/issuing/test_state_machine.py",
    "authorization_server/issuing/test_audiences.py",
    "authorization_server/issuing/test_lifetimes.py",
    "authorization_server/issuing/test_device_limit.py",
    "authorization_server/issuing/test_sender_constrained.py",
    "authorization_server/issuing/test_in_flight.py",
    "authorization_server/endpoints/test_bad_input.py",
    "docs",
    "authorization_server/exchange",
    "authorization_server/revocation",
    "proof",
    "storage",
    "authorization_server/signing",
    "resource_server/elsewhere",
    "checks",
    "models",
    "binding",
)

#: As sites have it that keep local times; it differs where databases do.
LOCAL_TIMES: Final[Tests] = (
    "core/test_moments.py",
    "ended/test_clocks.py",
    "ended/test_browsers.py",
    "ended/test_logout.py",
    "authorization_server/issuing/test_refresh.py",
    "authorization_server/issuing/test_openid.py",
    "authorization_server/exchange/test_foreign_tokens.py",
    "authorization_server/revocation/test_revocation_feed.py",
    "resource_server/elsewhere/test_with_the_server.py",
    "authorization_server/signing/test_jwt_access_tokens.py",
)

#: What the app does differently on each database.
DIFFERING: Final[Tests] = (
    "storage",
    "checks/test_checks.py",
    "devices/test_new_sign_in.py",
    "console/test_counts.py",
    "console/test_search.py",
    "authorization_server/issuing/test_refresh.py",
    "resource_server/test_last_used.py",
)


def paths(*chosen: Tests) -> list[str]:
    return [f"tests/{name}" for names in chosen for name in names]


def without(*left_out: Tests) -> list[str]:
    return [
        word for path in paths(*left_out) for word in ("--deselect" if "::" in path else "--ignore", path)
    ]


def pytest(session: nox.Session, *chosen: str, python: str = sys.executable, **env: str) -> None:
    """Run pytest on what was asked for, or else on what is chosen."""
    session.run(python, "-m", "pytest", "-q", *(session.posargs or chosen), env=env, external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The tests that need no server, on SQLite."""
    pytest(session)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.run(sys.executable, "-m", "ruff", "check", ".", external=True)
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.run(sys.executable, "-m", "mypy", external=True)


@nox.session(venv_backend="none")
def migrations(session: nox.Session) -> None:
    """Whether models and migrations agree, and the example project is set up."""
    session.run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", external=True)
    session.run(sys.executable, "manage.py", "check", external=True)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The documentation, built into site/."""
    session.run(str(Path(sys.executable).with_name("zensical")), "build", "--strict", external=True)


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """What starts servers, browsers and processes of its own on SQLite, or asks no database."""
    pytest(session, "-m", "slow", *paths(SLOW), *without(SLOWEST))


@nox.session(venv_backend="none")
def postgresql(session: nox.Session) -> None:
    """The tests on the PostgreSQL server at PGHOST, or on this machine."""
    chosen = without(ELSEWHERE, ALIKE)
    pytest(session, "--create-db", "-m", "slow or not slow", *chosen, TEST_DATABASE="postgresql")


@nox.session(venv_backend="none")
def mariadb(session: nox.Session) -> None:
    """The tests on the MariaDB server at MYSQL_HOST, or on this machine."""
    chosen = without(ELSEWHERE, ALIKE, WALKS)
    pytest(session, "--create-db", "-m", "slow or not slow", *chosen, TEST_DATABASE="mariadb")


@nox.session(venv_backend="none")
def clusters(session: nox.Session) -> None:
    """PostgreSQL with a replica and a pool, and Galera, on servers of their own."""
    # One process starts them.
    chosen = ["-n", "0", "-m", "slow"]
    postgresql = ["tests/cluster", *without(("cluster/test_redis.py", "cluster/test_galera.py"))]
    pytest(session, *chosen, *postgresql, TEST_DATABASE="postgresql")
    if not session.posargs:
        pytest(session, *chosen, "tests/cluster/test_galera.py", TEST_DATABASE="mariadb")


@nox.session(venv_backend="none")
@nox.parametrize("database", ["sqlite", "mariadb"])
def local_times(session: nox.Session, database: str) -> None:
    """Without USE_TZ."""
    pytest(session, "--create-db", *paths(LOCAL_TIMES), TEST_DATABASE=database, TEST_USE_TZ="0")


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """Which lines and branches of the app the tests run, on all three databases together."""
    command = [sys.executable, "-m", "coverage"]
    runs: list[tuple[list[str], dict[str, str]]] = [
        ([], {"TEST_DATABASE": "sqlite"}),
        (paths(LOCAL_TIMES), {"TEST_DATABASE": "sqlite", "TEST_USE_TZ": "0"}),
        (paths(DIFFERING), {"TEST_DATABASE": "postgresql"}),
        (paths(DIFFERING), {"TEST_DATABASE": "mariadb"}),
    ]
    session.run(*command, "erase", external=True)
    # With what is only imported where a setting or a newer Django asks for it.
    settings = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    session.run(*command, "run", ".ci/import_all.py", env=settings, external=True)
    for chosen, env in runs:
        tests = ["-m", "pytest", "-q", "--create-db", *(session.posargs or chosen)]
        session.run(*command, "run", *tests, env=env, external=True)
    session.run(*command, "combine", "-q", external=True)
    session.run(*command, "report", external=True)


@nox.session(venv_backend="none")
def wheel(session: nox.Session) -> None:
    """A wheel, in an empty site."""
    with TemporaryDirectory() as folder:
        session.run(".ci/wheel", sys.executable, str(Path(folder) / "wheel"), external=True)


@nox.session
def without_rest_framework(session: nox.Session) -> None:
    """Without djangorestframework, and with oauthlib 3.3."""
    session.install("-e", ".[dev]", "oauthlib<4")
    session.run("pip", "uninstall", "-q", "-y", "djangorestframework", "drf-spectacular")
    session.run("python", ".ci/import_all.py", env={"DJANGO_SETTINGS_MODULE": "tests.settings"})
    others: Tests = ("console", "checks", "management")
    pytest(session, *without(ELSEWHERE, LONG, others), python="python")


def newest_python() -> str:
    """Return the name of the newest Python that is here."""
    names = (f"python3.{minor}" for minor in range(30, 10, -1))
    return next(filter(shutil.which, names), sys.executable)


@nox.session(python=newest_python())
def newest(session: nox.Session) -> None:
    """The newest Python that is here, and the newest Django."""
    session.install("-e", ".[dev]")
    session.run("python", "-c", "import django, sys; print(sys.version, 'Django', django.__version__)")
    pytest(session, *without(LONG), python="python")


@nox.session(python="3.12")
def between(session: nox.Session) -> None:
    """A Python and a Django that are neither the oldest nor the newest."""
    session.install("-e", ".[dev]", "django~=6.0.0")
    pytest(session, *without(LONG), python="python")
