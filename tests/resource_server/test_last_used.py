"""Calls of APIs move when a device was last used: seldom, after the answer, and waiting for nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, transaction
from django.db.backends.signals import connection_created
from django.test import RequestFactory
from django.utils import timezone

from oauth_binding.devices import devices_of
from oauth_binding.models import TokenBinding
from oauth_binding.storage import last_used
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.dpop import DeviceKey
from tests.helpers.project import Project, migrate
from tests.resource_server.apis import KINDS

#: Longer than the interval of the default.
LONG = timedelta(minutes=6)

MIDDLEWARE = "tests.resource_server.apis.TokenMiddleware"

#: Which is not typed.
Communicator: Any = ApplicationCommunicator

#: No row of SQLite is locked on its own.
only_where_rows_are_locked = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="on SQLite nothing is written"
)


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.resource_server.apis"


@pytest.fixture(autouse=True)
def _not_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(last_used._paused, "until", 0.0)


def age(by: timedelta = LONG) -> datetime:
    """Have all bindings been used so long ago, and return when."""
    moment = timezone.now() - by
    TokenBinding.objects.update(last_used=moment)
    return moment


def used() -> datetime:
    return TokenBinding.objects.get().last_used


def is_now(moment: datetime) -> bool:
    return timezone.now() - moment < timedelta(minutes=1)


@only_where_rows_are_locked
@pytest.mark.parametrize("kind", [*KINDS, "drf/toolkit"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_any_api_counts(make_bound: Callable[..., Site], settings: Any, kind: str, token_type: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    site = make_bound(token_type)
    token = site.bound("phone").access
    age()

    answer = site.http.get(f"/{kind}/", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200
    assert is_now(used())
    assert is_now(devices_of(site.user)[0].last_used)  # type: ignore[arg-type]


@only_where_rows_are_locked
def test_so_does_a_call_with_a_proof(make_bound: Callable[..., Site]) -> None:
    site = make_bound(sender_constraint="dpop")
    site.key = DeviceKey()
    token = site.bound("phone").access
    age()

    assert site.api(token) == 200

    assert is_now(used())


@only_where_rows_are_locked
def test_so_does_introspection_of_an_access_token(make_bound: Callable[..., Site]) -> None:
    """An API elsewhere asks when it is called."""
    site = make_bound()
    answer = site.bound("phone")

    before = age()
    assert site.active(answer.refresh)
    assert used() == before

    assert site.active(answer.access)
    assert is_now(used())


@only_where_rows_are_locked
def test_nothing_but_that_is_written(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.bound("phone").access
    TokenBinding.objects.update(may_be_live=False)
    age()
    before = dict(TokenBinding.objects.values().get())

    site.api(token)

    after = dict(TokenBinding.objects.values().get())
    assert {name for name, value in after.items() if (name, value) not in before.items()} == {"last_used"}


def test_it_costs_no_query_but_once_in_a_while(
    make_bound: Callable[..., Site], django_assert_num_queries: Any
) -> None:
    site = make_bound()
    token = site.bound("phone").access
    age(timedelta(minutes=4))
    with django_assert_num_queries(1):
        assert site.api(token) == 200

    age()
    site.api(token)
    if connection.vendor != "sqlite":
        with django_assert_num_queries(1):
            assert site.api(token) == 200


@pytest.mark.parametrize(("interval", "is_moved"), [(60, True), (7 * 60, False), (None, False)])
@only_where_rows_are_locked
def test_the_site_says_how_often(
    make_bound: Callable[..., Site], settings: Any, interval: int | None, is_moved: bool
) -> None:
    site = make_bound()
    token = site.bound("phone").access
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "LAST_USED_INTERVAL": interval}
    before = age()

    assert site.api(token) == 200

    assert (used() != before) == is_moved


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere, rows are locked on their own")
def test_on_sqlite_nothing_is_written(
    make_bound: Callable[..., Site], django_assert_num_queries: Any
) -> None:
    site = make_bound()
    token = site.bound("phone").access
    before = age()

    with django_assert_num_queries(1):
        assert site.api(token) == 200

    assert used() == before


def test_a_call_that_is_refused_does_not_count(make_bound: Callable[..., Site]) -> None:
    site = make_bound(require_presented_binding="yes")
    token = site.bound("phone").access
    before = age()
    assert site.api(token) == 401
    assert used() == before

    site.revoke(token)
    before = age()
    assert site.api(token) == 401
    assert not site.active(token)
    assert used() == before


@only_where_rows_are_locked
def test_what_was_used_meanwhile_goes_not_back(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.bound("phone").access
    age()
    last_used.note_use(TokenBinding.objects.get())  # by a request that is still being answered
    later = timezone.now() + timedelta(seconds=5)
    TokenBinding.objects.update(last_used=later)

    site.api(token)

    assert used() == later


@only_where_rows_are_locked
def test_what_is_forgotten_meanwhile_does_not_come_back(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    token = site.bound("phone").access
    age()
    last_used.note_use(TokenBinding.objects.get())
    TokenBinding.objects.all().delete()

    site.api(token)

    assert not TokenBinding.objects.exists()


@only_where_rows_are_locked
def test_a_device_that_calls_apis_is_not_the_one_to_give_way(make_bound: Callable[..., Site]) -> None:
    site = make_bound(max_devices=2)
    phone = site.bound("phone").access
    site.bound("laptop")
    age()
    TokenBinding.objects.filter(binding_value="laptop").update(
        last_used=timezone.now() - timedelta(minutes=5)
    )
    site.api(phone)

    site.bound("tablet")

    assert site.active(phone)


def test_what_is_noted_has_an_end(user: User) -> None:
    """A thread that answers no HTTP requests never writes what it notes."""
    long_ago = timezone.now() - LONG
    application = make_application("opaque")
    for number in range(2 * last_used.MAX_NOTED):
        binding = TokenBinding.identify(application, user, "client-request", str(number))
        binding.last_used = long_ago
        last_used.note_use(binding)

    assert len(last_used._noted.uses) <= last_used.MAX_NOTED
    last_used._noted.uses.clear()


@contextmanager
def locked_by_another() -> Iterator[threading.Event]:
    """Hold the locks of all bindings, in a transaction of another thread.

    The event is set where it was held until somebody had come back.
    """
    is_held, is_done, was_in_time = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            TokenBinding.objects.update(name="in use")
            is_held.set()
            if is_done.wait(30):
                was_in_time.set()
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(30)
    try:
        yield was_in_time
    finally:
        is_done.set()
        thread.join()


@only_where_rows_are_locked
@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_has_locked_is_passed_over(
    make_bound: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make_bound()
    token = site.bound("phone").access
    before = age()

    with locked_by_another() as held_until_it_was_answered:
        assert site.api(token) == 200
    assert held_until_it_was_answered.is_set()
    assert used() == before
    assert messages_of(caplog) == []

    assert site.api(token) == 200
    assert is_now(used())


def messages_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what this app has logged."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("oauth_binding")]


#: Has the database refuse what the connection writes, and take it again.
READ_ONLY = {
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
}


@only_where_rows_are_locked
@pytest.mark.django_db(transaction=True)
def test_that_it_fails_is_said_once_and_nobody_is_refused(
    make_bound: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="oauth_binding")
    site = make_bound()
    token = site.bound("phone").access
    before = age()
    refuse, take = READ_ONLY[connection.vendor]

    with connection.cursor() as cursor:
        cursor.execute(refuse)
    try:
        for _ in range(3):
            assert site.api(token) == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute(take)

    (message,) = messages_of(caplog)
    assert message.startswith("Last use of a binding not written: ")
    assert used() == before


@only_where_rows_are_locked
@pytest.mark.slow
def test_in_processes_of_their_own(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    database = make_database()
    for name in ("one", "two"):
        project.write_settings(
            name,
            "from tests.settings import MIDDLEWARE",
            'ROOT_URLCONF = "tests.resource_server.apis"',
            f"MIDDLEWARE = [*MIDDLEWARE, {MIDDLEWARE!r}]",
            default=database,
        )
    project.call("one", migrate)
    token = project.call("one", sign_in)

    # Of two processes, one writes.
    for _ in range(5):
        project.call("one", make_old)
        with ThreadPoolExecutor(2) as threads:
            written = threads.map(lambda name: project.call(name, count_writes, token, 10), ["one", "two"])
        assert sum(written) == 1

    # No connection is made for it, or left open.
    project.call("one", make_old)
    assert project.call("one", ask_by_wsgi, token) == [200, 1, False, True]

    for kind in KINDS:
        assert project.call("one", ask_by_asgi, kind, token) == [200, True], kind


# What runs in the processes of the site


def sign_in() -> str:
    user = User.objects.create_user("alice", password=PASSWORD)
    token = Site(make_application("opaque"), user).bound("phone").access
    age()
    return token


def make_old() -> None:
    age()


def count_writes(token: str, calls: int) -> int:
    """Call an API, and return how often a row of a binding was written."""
    writes = 0

    def count(execute: Any, sql: str, *arguments: Any) -> Any:
        nonlocal writes
        writes += sql.startswith("UPDATE") and TokenBinding._meta.db_table in sql
        return execute(sql, *arguments)

    site = Site(None)
    with connection.execute_wrapper(count):
        for _ in range(calls):
            assert site.api(token) == 200
    return writes


def ask_by_wsgi(token: str) -> list[Any]:
    """Call an API as a server does, and return the status, how many connections that took, and how it went.

    That is whether one is open afterwards, and whether it was noted that the device is used.
    """
    connection.close()
    made: list[Any] = []

    def note(**arguments: Any) -> None:
        made.append(arguments)

    connection_created.connect(note)
    environ = RequestFactory(headers={"Authorization": f"Bearer {token}"}).get("/drf/any/").environ
    response: Any = get_wsgi_application()(environ, lambda *arguments: lambda data: None)
    b"".join(response)
    response.close()
    is_open = connection.connection is not None
    return [response.status_code, len(made), is_open, is_now(used())]


def ask_by_asgi(kind: str, token: str) -> list[Any]:
    """Call an API by ASGI, and return the status, and whether it was noted that the device is used."""
    age()
    close_old_connections()

    async def ask() -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/{kind}/",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode()), (b"host", b"testserver")],
        }
        server = Communicator(get_asgi_application(), scope)
        await server.send_input({"type": "http.request", "body": b""})
        started = await server.receive_output()
        while (await server.receive_output()).get("more_body"):
            pass
        await server.wait()
        return int(started["status"])

    status = asyncio.run(ask())
    return [status, is_now(used())]
