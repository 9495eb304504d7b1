"""What does not grow with the site, shown at the size of a large one: on PostgreSQL, with rows made in SQL.

    TEST_DATABASE=postgresql python -m benchmarks.scale PART [--rows 1000000]

``feed``: so many JWTs were revoked within the last hour. A process of the server answers a consumer that
knows nothing yet, and then asks again while more are revoked.

``suspended``: users who are not active hold so many live JWTs, which expire within the next ten hours. A
process of the server looks for them, and a consumer reads them, and asks again after a user is active again.

``devices``: a user with 1, 100, 10,000 and 100,000 devices, beside so many bindings of others, each with an
access and a refresh token: how long the page takes, the list of the API, and signing out everywhere.

``growth``: what a request of each kind costs beside a thousand bindings of others, and beside so many: time,
statements, CPU time of the application and of the database, rows and log written; and how many bytes a row
of each table takes on disk, with its indexes.

``clearing``: ``cleartokens`` and ``clearbindings`` end so many bindings with their pairs, beside logins.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from urllib.request import urlopen

DATABASE = os.environ.get("BENCHMARK_DATABASE", "oauth_binding_scale")

#: As of which primary key no user is made in SQL.
_FREE = 1_000_000_000

#: How many of a kind are sent, where the mean is asked for.
_REQUESTS = 500

#: A random value of 22 characters, as a ``jti`` has.
_JTI = "translate(rtrim(encode(decode(md5(random()::text || number), 'hex'), 'base64'), '='), '+/', '-_')"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if os.environ.get("TEST_DATABASE") != "postgresql":
        sys.exit("It needs TEST_DATABASE=postgresql.")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.scale_settings"
    call(_execute, f"DROP DATABASE IF EXISTS {DATABASE}")
    call(_execute, f"CREATE DATABASE {DATABASE}")
    try:
        call(migrate)
        PARTS[arguments.part](arguments.rows)
    finally:
        call(_execute, f"DROP DATABASE IF EXISTS {DATABASE}")


def _feed(rows: int) -> None:
    call(revoke, rows, 3600)
    print(f"{rows:,} JWTs were revoked within the last hour")
    with _server() as address:
        started = time.perf_counter()
        with urlopen(address) as answer:
            head = answer.read()
        print(f"the first head: {time.perf_counter() - started:.2f} s, {len(head):,} bytes")
        for name, value in call(consume, address).items():
            print(f"{name}: {value}")


def _suspended(rows: int) -> None:
    call(make_bindings, rows, 1, max(rows // 10, 1))
    call(suspend)
    for name, value in call(look_for_suspended).items():
        print(f"{name}: {value}", flush=True)
    with _server() as address:
        for name, value in call(consume_suspended, address).items():
            print(f"{name}: {value}", flush=True)


def _devices(rows: int) -> None:
    call(make_bindings, rows, 0, 1000)
    print(f"{rows:,} bindings of others; milliseconds, the median of nine", flush=True)
    print(f"{'devices':>10}{'page':>10}{'page 3':>10}{'API':>10}{'asking':>10}{'signing out':>14}")
    total = 0
    for number in (1, 100, 10_000, 100_000):
        call(make_bindings, number - total, 1001, 1)
        total = number
        times = call(show_devices)
        times.append(call(sign_out) if number == 100_000 else None)
        print(
            f"{number:>10,}" + "".join("" if each is None else f"{each:>10,.1f}" for each in times),
            flush=True,
        )


def _growth(rows: int) -> None:
    total = 0
    for size in (1000, rows):
        while total < size:
            part = min(size - total, 1_000_000)
            call(make_bindings, part, total // 10, max(part // 10, 1))
            total += part
        call(_execute, "CHECKPOINT")
        print(
            f"beside {size:,} bindings, of {_REQUESTS} requests each the median time, and the means",
            flush=True,
        )
        print(f"{'':<28}{'ms':>8}{'statements':>12}{'app, ms':>9}{'database, ms':>14}{'rows':>6}{'log':>12}")
        for kind, costs in call(measure_requests, f"of {size}").items():
            ms, statements, app, database, written, log = costs
            print(
                f"{kind:<28}{ms:>8.2f}{statements:>12}{app:>9.2f}{database:>14.2f}{written:>6.1f}{log:>12,.0f}",
                flush=True,
            )
    call(revoke, rows, 3600)
    for table, (heap, indexes) in call(measure_tables, rows).items():
        print(f"{table}: {heap} bytes a row, and {indexes} of indexes")


def _clearing(rows: int) -> None:
    call(make_bindings, rows, 0, max(rows // 10, 1))
    call(outlive)
    with _process(log_in) as logins:
        time.sleep(10)
        cleared = call(clear)
        answered = _stop(logins)
    print(f"{rows:,} pairs and bindings: {cleared}")
    print(answered)


PARTS: dict[str, Callable[[int], None]] = {
    "feed": _feed,
    "suspended": _suspended,
    "devices": _devices,
    "growth": _growth,
    "clearing": _clearing,
}


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call one of the functions below in a process of its own, and return what it returned."""
    result = subprocess.run(_command(function, *arguments), stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def _command(function: Callable[..., Any], *arguments: Any) -> list[str]:
    return [sys.executable, "-m", "benchmarks.scale", "--", function.__name__, json.dumps(arguments)]


def _process(function: Callable[..., Any]) -> subprocess.Popen[str]:
    """Start one of the functions below, which goes on until its standard input ends."""
    command = _command(function)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _stop(process: subprocess.Popen[str]) -> Any:
    """Return what a process returns that was started by ``_process``."""
    output, _errors = process.communicate()
    return json.loads(output.splitlines()[-1])


@contextmanager
def _server() -> Iterator[str]:
    """Serve the site from a process of its own, and yield the address of its feed."""
    with subprocess.Popen(_command(serve), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/oauth2/revoked-tokens/"
        finally:
            process.terminate()


# What runs in the site's processes.


def _execute(statement: str) -> None:
    from django.db import connection

    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def _run(statement: str, *parameters: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def revoke(rows: int, seconds: int) -> None:
    """Let JWTs have been revoked in the last seconds, each of which would have lived for another hour."""
    _run(
        "INSERT INTO oauth_binding_revokedtoken (jti, revoked, expires)"
        f" SELECT {_JTI}, now() - interval '1 second' * (%s - %s::float * number / %s),"
        "  now() + interval '1 hour' FROM generate_series(1, %s) AS number",
        seconds,
        seconds,
        rows,
        rows,
    )
    _run("ANALYZE oauth_binding_revokedtoken")


def make_bindings(rows: int, first_user: int, users: int) -> None:
    """Make bindings, each with a live access and refresh token, and the users whom they are of.

    :param first_user: their primary keys, and those of the users that follow it.
    """
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    first_user = max(first_user, 1)
    User.objects.bulk_create(
        [User(pk=pk, username=f"user {pk}") for pk in range(first_user, first_user + users)],
        ignore_conflicts=True,
    )
    application, _created = Application.objects.get_or_create(
        client_id="scale",
        defaults={"client_type": "public", "authorization_grant_type": "password"},
    )
    # Without a look-up for each foreign key of each row, which would all wait in memory until the end.
    _run("SET session_replication_role = replica")
    _run(
        "WITH numbers AS (SELECT number, %s + number %% %s AS user_id,"
        "  md5(random()::text || number) AS value FROM generate_series(1, %s) AS number),"
        " bindings AS (INSERT INTO oauth_binding_tokenbinding (application_id, user_id, binding_type,"
        "  binding_value, reference, name, key, created, last_used, may_be_live)"
        "  SELECT %s, user_id, 'client-request', value, left(value, 22), '', value || md5(value), now(),"
        "   now() - interval '1 second' * number, TRUE FROM numbers RETURNING id, user_id, key, last_used),"
        " access AS (INSERT INTO oauth2_provider_accesstoken (token, token_checksum, slot, user_id,"
        "  application_id, binding_id, expires, scope, resource, created, updated)"
        "  SELECT key, key, key, user_id, %s, id, now() + interval '1 day', 'read', '[]', last_used,"
        "   last_used"
        "  FROM bindings RETURNING id, user_id, binding_id, token)"
        " INSERT INTO oauth2_provider_refreshtoken (token, token_checksum, user_id, application_id,"
        "  access_token_id, binding_id, resource, created, updated)"
        " SELECT token, token, user_id, %s, id, binding_id, '[]', now(), now() FROM access",
        *(first_user, users, rows, application.pk, application.pk, application.pk),
    )
    _run("SET session_replication_role = DEFAULT")
    _run("ANALYZE")


def show_devices() -> list[float]:
    """Return how long the page, its third, the list of the API and asking take, in milliseconds."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(pk=1001))
    medians = []
    for path in (
        "/oauth2/devices/",
        "/oauth2/devices/?page=3",
        "/api/devices/",
        "/oauth2/devices/sign-out-others/",
    ):
        seconds = []
        for _ in range(9):
            started = time.perf_counter()
            assert client.get(path).status_code == 200
            seconds.append(time.perf_counter() - started)
        medians.append(median(seconds) * 1000)
    return medians


def sign_out() -> float:
    """Sign a user out everywhere, and return how long it takes, in milliseconds."""
    from django.contrib.auth.models import User

    from oauth_binding.devices import sign_out_everywhere

    started = time.perf_counter()
    number = sign_out_everywhere(User.objects.get(pk=1001))
    print(f"signed out of {number:,}")
    return (time.perf_counter() - started) * 1000


def _requests_of(name: str) -> dict[str, Callable[[], Any]]:
    """Return what sends a request of each kind, of a new user of this name."""
    from django.contrib.auth.models import User
    from django.test import Client
    from oauth2_provider.models import Application

    User.objects.create_user(name, password="password", pk=_FREE + User.objects.count())
    client = Client()

    def post(path: str, form: dict[str, str]) -> Any:
        response = client.post(f"/oauth2/{path}/", form)
        assert response.status_code == 200, response.content
        return response.json()

    def login(token_type: str, device: str) -> Any:
        form = {"grant_type": "password", "username": name, "password": "password"}
        return post("token", {**credentials(token_type), **form, "scope": "read", "tokenBindingId": device})

    def credentials(token_type: str) -> dict[str, str]:
        return {"client_id": f"{token_type} {name}", "client_secret": "secret"}

    for token_type in ("opaque", "jwt"):
        Application.objects.create(
            client_id=f"{token_type} {name}",
            client_secret="secret",
            hash_client_secret=False,
            client_type="confidential",
            authorization_grant_type="password",
            token_type=token_type,
            token_binding_type="client-request",
        )
    pair = login("opaque", "phone")

    def refresh() -> None:
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        pair.update(post("token", {**credentials("opaque"), **form}))

    def call_api() -> None:
        answer = client.get("/api/me/", headers={"Authorization": f"Bearer {pair['access_token']}"})
        assert answer.status_code == 200, answer.content

    numbers = iter(range(10_000))
    return {
        "login, seen id": lambda: login("opaque", "phone"),
        "login, new id": lambda: login("opaque", f"device {next(numbers)}"),
        "login, JWT that supersedes": lambda: login("jwt", "phone"),
        "refresh": refresh,
        "introspection": lambda: post("introspect", {**credentials("opaque"), "token": pair["access_token"]}),
        "API": call_api,
    }


def measure_requests(name: str) -> dict[str, list[float]]:
    """Return what a request of each kind costs.

    Those are the median time in milliseconds, statements, milliseconds of CPU of this process, which includes
    Django's test client, and of PostgreSQL's, rows written, and bytes of its log.

    :param name: what the user is called, who is a new one.
    """
    from django.db import connection

    statements = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(*arguments)

    costs = {}
    for kind, request in _requests_of(name).items():
        for _ in range(100):
            request()
        statements = 0
        with connection.execute_wrapper(count):
            request()
        seconds = []
        before = [time.process_time(), *_measure_database()]
        for _ in range(_REQUESTS):
            started = time.perf_counter()
            request()
            seconds.append(time.perf_counter() - started)
        after = [time.process_time(), *_measure_database()]
        app, database, written, log = (
            (now - then) / _REQUESTS for then, now in zip(before, after, strict=True)
        )
        costs[kind] = [median(seconds) * 1000, statements, app * 1000, database * 1000, written, log]
    return costs


def _measure_database() -> list[float]:
    """Return the CPU time of this connection's process in seconds, rows and bytes of log written so far."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_backend_pid()")
        ((_, pid),) = cursor.fetchall()
        cursor.execute(
            "SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables),"
            " pg_current_wal_insert_lsn() - '0/0'"
        )
        ((written, log),) = cursor.fetchall()
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return [(int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), float(written), float(log)]


def measure_tables(rows: int) -> dict[str, tuple[int, int]]:
    """Return how many bytes a row takes in each table that has so many, and those of its indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_table_size(oid) / %s, pg_indexes_size(oid) / %s FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples >= %s * 0.99"
            " ORDER BY relname",
            [rows, rows, rows],
        )
        return {name: (heap, indexes) for name, heap, indexes in cursor.fetchall()}


def outlive() -> None:
    """Let all tokens have expired, and all bindings not be used for a year."""
    _run("UPDATE oauth2_provider_accesstoken SET expires = now() - interval '1 year'")
    _run("UPDATE oauth2_provider_refreshtoken SET created = now() - interval '1 year', updated = created")
    _run("UPDATE oauth_binding_tokenbinding SET last_used = now() - interval '1 year'")
    _run("VACUUM ANALYZE")


def clear() -> str:
    from django.core.management import call_command

    said = []
    for command in ("cleartokens", "clearbindings"):
        started = time.perf_counter()
        call_command(command, **({} if command == "cleartokens" else {"stdout": sys.stderr}))
        said.append(f"{command} took {time.perf_counter() - started:.0f} s")
    return ", ".join(said)


def log_in() -> str:
    """Log in until the standard input ends, with new and known devices by turns."""
    import select

    from django.contrib.auth.models import User
    from django.test import Client
    from oauth2_provider.models import Application

    User.objects.create_user("alice", password="password", pk=_FREE)
    Application.objects.create(
        client_id="logins",
        client_secret="secret",
        hash_client_secret=False,
        client_type="confidential",
        authorization_grant_type="password",
        token_binding_type="client-request",
    )
    form = {"grant_type": "password", "username": "alice", "password": "password", "scope": "read"}
    form |= {"client_id": "logins", "client_secret": "secret"}
    client = Client()
    seconds: list[float] = []
    began = time.perf_counter()
    while not select.select([sys.stdin], [], [], 0)[0]:
        started = time.perf_counter()
        device = f"device {len(seconds) % 1000}"
        assert client.post("/oauth2/token/", {**form, "tokenBindingId": device}).status_code == 200
        seconds.append(time.perf_counter() - started)
    rate = len(seconds) / (time.perf_counter() - began)
    return f"logins meanwhile: {rate:.0f} a second; the longest took {max(seconds):.2f} s"


def serve() -> None:
    """Serve the site, and print the port."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from django.core.wsgi import get_wsgi_application

    class Handler(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def _consumer(address: str) -> Any:
    """Return the feed as an API elsewhere has it, which knows nothing yet."""
    from django.conf import settings

    from oauth_binding.resource_server.revocation_feed_client import revocation_feed

    base = address.removesuffix("revoked-tokens/")
    settings.OAUTH_RESOURCE_SERVER = {
        "ISSUER": base.rstrip("/"),
        "AUDIENCE": "an API",
        "JWKS_URL": f"{base}.well-known/jwks.json",
        "REVOCATION_FEED_URL": address,
        "REVOCATION_INTERVAL": 1,
        "REVOCATION_MAX_STALE": 600,
    }
    return revocation_feed(address)


def _ask(feed: Any) -> tuple[float, float, int]:
    """Ask until a token can be checked, and return the seconds, those of CPU, and how often it was asked."""
    from oauth_binding.resource_server.errors import ServerUnavailableError

    started, cpu, requests = time.perf_counter(), time.process_time(), 1
    while True:
        try:
            feed.check({"jti": "live", "exp": time.time() + 3600})
        except ServerUnavailableError:
            requests += 1
            time.sleep(0.2)
        else:
            return time.perf_counter() - started, time.process_time() - cpu, requests


def consume(address: str) -> dict[str, Any]:
    """Return what a consumer takes that knows nothing, and then what asking again takes."""
    from oauth_binding.models import RevokedToken
    from oauth_binding.resource_server.errors import RefusedTokenError

    feed = _consumer(address)
    named = list(RevokedToken.objects.order_by("pk").values_list("jti", flat=True)[:1000])
    live = {"jti": "live", "exp": time.time() + 3600}

    memory = _memory()
    seconds, cpu, requests = _ask(feed)
    found = {
        "from nothing": f"{seconds:.1f} s, of which {cpu:.1f} s are the consumer's CPU;"
        f" the first {requests - 1} requests were answered 503",
        "memory": f"{_memory() - memory:.0f} MB more for {len(feed.revoked):,} tokens",
    }
    refused = 0
    started = time.perf_counter()
    for jti in named:
        try:
            feed.check({**live, "jti": jti})
        except RefusedTokenError:
            refused += 1
    found["looking up"] = (
        f"{(time.perf_counter() - started) / len(named) * 1e6:.1f} µs; {refused:,} of {len(named):,} refused"
    )
    waited, worked = [], []
    for _ in range(5):
        revoke(280, 1)
        time.sleep(1.1)
        seconds, cpu, _requests = _ask(feed)
        waited.append(seconds)
        worked.append(cpu)
    found["asking again"] = f"{max(waited):.2f} s at most, {max(worked):.2f} s of CPU"
    return found


def suspend() -> None:
    """Let all tokens be JWTs that expire within ten hours, and no user be active."""
    from django.contrib.auth.models import User

    _run(
        "UPDATE oauth2_provider_accesstoken SET jti = left(token, 22),"
        " expires = now() + interval '1 second' * (600 + random() * 35400)"
    )
    User.objects.update(is_active=False)
    _run("VACUUM ANALYZE")


def look_for_suspended() -> dict[str, str]:
    """Return how long the server looks for them, and how long it takes to sign all of their pieces."""
    from django.test import Client
    from django.utils import timezone

    from oauth_binding.authorization_server.revocation import feed

    found = {}
    before = _memory()
    started, cpu = time.perf_counter(), time.process_time()
    suspended = feed.read_suspended(timezone.now())
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found["one look"] = f"{seconds:.2f} s, of which {cpu:.2f} s are the process's CPU"
    started, size, pieces, client = time.perf_counter(), 0, 0, Client()
    for hour in suspended.states:
        position = hour
        while position < hour + 3600:
            size += len(client.get(f"/oauth2/revoked-tokens/?suspended={position}").content)
            start, span = suspended.piece_at(position)
            position, pieces = start + span, pieces + 1
    found["signing all"] = f"{time.perf_counter() - started:.1f} s, {pieces} pieces, {size / 1e6:.0f} MB"
    found["the server's memory"] = f"{_memory() - before:.0f} MB more"
    return found


def consume_suspended(address: str) -> dict[str, str]:
    """Return what a consumer takes that knows nothing, and then what it takes after one user has changed."""
    from django.contrib.auth.models import User

    feed = _consumer(address)

    before = _memory()
    seconds, cpu, requests = _ask(feed)
    found = {
        "from nothing": f"{seconds:.1f} s, of which {cpu:.1f} s are the consumer's CPU,"
        f" in {requests} requests",
        "the consumer's memory": f"{_memory() - before:.0f} MB more",
    }
    User.objects.filter(pk=1).update(is_active=True)
    started = time.perf_counter()
    known = [*feed._suspended.values()]
    while [*feed._suspended.values()] == known:
        time.sleep(0.5)
        _ask(feed)
    found["after one user is active again"] = f"known after {time.perf_counter() - started:.1f} s"
    return found


def _memory() -> float:
    """Return how much memory this process takes now, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--"]:
        import django

        django.setup()
        print(json.dumps(globals()[sys.argv[2]](*json.loads(sys.argv[3]))))
    else:
        main()
