"""How long the pages of the console take with a million bindings, on PostgreSQL.

    python -m benchmarks.console [--rows 1000000]

A scratch database gets that many bindings, login sessions, access and refresh tokens; of a tenth of the
bindings tokens are live, and of none of the newest. Printed are the milliseconds of each page, of a request
that goes through all of Django: the least of five, with a thousandth of the rows and with all of them. At the
end of each an application is deleted, once, which has a tenth of the bindings.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ROUNDS = 5

#: One of so many rows is of alice, who has many.
SHARE = 20

#: The rows, by number; :alice and :rows are filled in.
STATEMENTS = (
    """
    INSERT INTO auth_user (username, email, password, first_name, last_name, is_staff, is_active,
        is_superuser, date_joined)
    SELECT 'user ' || n, 'user' || n || '@example.com', '', '', '', FALSE, TRUE, FALSE, now()
    FROM generate_series({first} / 5 + 1, {last} / 5) n
    """,
    """
    INSERT INTO oauth_binding_tokenbinding (application_id, user_id, binding_type, binding_value, reference,
        name, key, created, last_used, revision, may_be_live, last_browser, last_os, last_address)
    SELECT (SELECT min(id) FROM oauth2_provider_application) + n % 10,
        CASE WHEN n % {share} = 0 THEN {alice} ELSE (SELECT min(id) FROM auth_user) + n / 5 END,
        'client-request', 'value ' || n, left(md5('a' || n) || md5('b' || n), 43),
        CASE WHEN n % 3 = 0 THEN 'Phone ' || n ELSE '' END, md5('c' || n) || md5('d' || n),
        now() - ({last} - n) * interval '1 minute', now() - ({last} - n) * interval '30 seconds', 0, TRUE,
        'Firefox', 'Windows', '192.0.2.1'
    FROM generate_series({first}, {last}) n
    """,
    """
    INSERT INTO oauth_binding_loginsession (sid, user_id, issuer, authenticated_at, created, last_seen,
        expires, terminated_at, termination_reason, last_browser, last_os)
    SELECT gen_random_uuid(), user_id, 'https://example.com', created, created, last_used,
        last_used + interval '14 days', CASE WHEN id % 10 = 0 THEN last_used END,
        CASE WHEN id % 10 = 0 THEN 'logout' ELSE '' END, 'Firefox', 'Windows'
    FROM oauth_binding_tokenbinding WHERE id > {before} AND user_id IS NOT NULL
    """,
    """
    INSERT INTO oauth2_provider_accesstoken (token, token_checksum, application_id, user_id, expires, scope,
        created, updated, binding_id, slot, resource)
    SELECT md5('e' || id), md5('e' || id) || md5('f' || id), application_id, user_id,
        now() + CASE WHEN {live} THEN interval '1 day' ELSE interval '-1 day' END, 'read', last_used,
        last_used, id, md5('g' || id) || md5('h' || id), '[]'
    FROM oauth_binding_tokenbinding WHERE id > {before}
    """,
    """
    INSERT INTO oauth2_provider_refreshtoken (token, token_checksum, application_id, user_id, access_token_id,
        created, updated, revoked, binding_id, resource)
    SELECT 'r' || token, md5('i' || token) || md5('j' || token), application_id, user_id,
        CASE WHEN expires > now() THEN id END, created, updated, CASE WHEN expires < now() THEN updated END,
        binding_id, '[]'
    FROM oauth2_provider_accesstoken WHERE binding_id > {before}
    """,
    """
    INSERT INTO django_admin_log (action_time, user_id, content_type_id, object_id, object_repr, action_flag,
        change_message)
    SELECT created, {alice}, (SELECT id FROM django_content_type WHERE model = 'tokenbinding'), id::text, '',
        2, 'Revoked.'
    FROM oauth_binding_tokenbinding WHERE id > {before} AND id % 10 = 0
    """,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    os.environ["TEST_DATABASE"] = "postgresql"
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.live_site_settings"
    os.environ["BENCHMARK_DATABASE"] = "oauth_binding_console"
    import django

    django.setup()
    with _scratch_database():
        columns = []
        done = 0
        for total in (rows // 1000, rows):
            fill(done, total)
            done = total
            columns.append(measure() | {"deleting an application": delete()})
        from benchmarks.report import table

        head = ["page", f"with {rows // 1000:,}, ms", f"with {rows:,}, ms", "ratio"]
        less, more = columns
        lines = [
            [name, *(f"{column[name] * 1000:.0f}" for column in columns), f"{more[name] / less[name]:.1f}"]
            for name in more
        ]
        print(table([head, *lines]))


@contextmanager
def _scratch_database() -> Iterator[None]:
    from django.db import connection

    def execute(statement: str) -> None:
        with connection._nodb_cursor() as cursor:
            cursor.execute(statement)

    name = connection.settings_dict["NAME"]
    execute(f"DROP DATABASE IF EXISTS {name}")
    execute(f"CREATE DATABASE {name}")
    try:
        yield
    finally:
        connection.close()
        execute(f"DROP DATABASE {name}")


def fill(done: int, total: int) -> None:
    """Make the rows up to a number, and statistics of them."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.db.models import Max
    from oauth2_provider.models import Application

    from oauth_binding.models import TokenBinding

    if not done:
        call_command("migrate", verbosity=0)
        User.objects.create_superuser("operator")
        for number in range(10):
            Application.objects.create(
                name=f"App {number}",
                client_id=f"app-{number}",
                client_type="confidential",
                authorization_grant_type="password",
                token_binding_type="client-request",
            )
        User.objects.create_user("alice")
    numbers = {
        "first": done + 1,
        "last": total,
        "share": SHARE,
        "alice": User.objects.get(username="alice").pk,
        "before": TokenBinding._base_manager.aggregate(pk=Max("pk"))["pk"] or 0,
        # None of the newest, for whom a filter would have to look far.
        "live": f"id % 10 = 0 AND id < {total // 2}",
    }
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(**numbers))
        cursor.execute("VACUUM ANALYZE")


def pages() -> dict[str, str]:
    """Return the addresses of the pages, by what they are called."""
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    from oauth_binding.console.large_tables import MAX_ROWS
    from oauth_binding.models import LoginSession, TokenBinding

    last = min(TokenBinding.objects.count(), MAX_ROWS) // 100
    bindings, sessions = "/admin/oauth_binding/tokenbinding/", "/admin/oauth_binding/loginsession/"
    users, applications = "/admin/auth/user/", "/admin/oauth2_provider/application/"
    alice, binding = User.objects.get(username="alice"), TokenBinding.objects.earliest("pk")
    application, session = Application.objects.earliest("pk"), LoginSession.objects.earliest("pk")
    tokens = "/admin/oauth2_provider/accesstoken/", "/admin/oauth2_provider/refreshtoken/"
    return {
        "bindings": bindings,
        "bindings, the last page": f"{bindings}?p={last}",
        "bindings, the oldest first": f"{bindings}?o=6",
        "bindings, search for a user": f"{bindings}?q=alice",
        "bindings, search for an application": f"{bindings}?q=app-3",
        "bindings, search for a name": f"{bindings}?q=Phone",
        "bindings, search for a reference": f"{bindings}?q={binding.reference[:12]}",
        "bindings, search for nothing": f"{bindings}?q=nothing",
        "bindings by application": f"{bindings}?application__id__exact={application.pk}",
        "bindings of a user": f"{bindings}?user__id__exact={alice.pk}",
        "bindings by type": f"{bindings}?binding_type=client-request",
        "bindings by a type that none has": f"{bindings}?binding_type=dpop",
        "bindings unused for 7 days": f"{bindings}?unused_for=7",
        "bindings unused for 90 days": f"{bindings}?unused_for=90",
        "bindings with live tokens": f"{bindings}?live=yes",
        "bindings with live tokens of a user": f"{bindings}?live=yes&user__id__exact={alice.pk}",
        "bindings without a binding": f"{bindings}?without_binding=7",
        "bindings without a proof": f"{bindings}?without_proof=7",
        "bindings as CSV, first byte": f"{bindings}csv/",
        "a binding": f"{bindings}{binding.pk}/change/",
        "history of a binding": f"{bindings}{binding.pk}/history/",
        "login sessions": sessions,
        "login sessions, live": f"{sessions}?status=live",
        "login sessions, expired": f"{sessions}?status=expired",
        "login sessions, ended": f"{sessions}?status=ended",
        "login sessions of a user": f"{sessions}?q=alice",
        "a login session": f"{sessions}{session.pk}/change/",
        "access tokens": tokens[0],
        "access tokens of a user": f"{tokens[0]}?q=alice",
        "refresh tokens": tokens[1],
        "refresh tokens of a user": f"{tokens[1]}?q=alice",
        "applications": applications,
        "an application": f"{applications}{application.pk}/change/",
        "history of an application": f"{applications}{application.pk}/history/",
        "question before an application is deleted": f"{applications}{application.pk}/delete/",
        "a user": f"{users}{alice.pk}/change/",
        "history of a user": f"{users}{alice.pk}/history/",
    }


def measure() -> dict[str, float]:
    """Return the seconds that each page takes."""
    client = _operator()
    return {name: _least(client, path) for name, path in pages().items()}


def delete() -> float:
    """Return the seconds that it takes to delete an application in the console."""
    from oauth2_provider.models import Application

    client, application = _operator(), Application.objects.latest("pk")
    started = time.perf_counter()
    response = client.post(f"/admin/oauth2_provider/application/{application.pk}/delete/", {"post": "yes"})
    seconds = time.perf_counter() - started
    assert response.status_code == 302, response.status_code
    application.save(force_insert=True)
    return seconds


def _operator() -> Any:
    """Return the operator's browser."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get(username="operator"))
    return client


def _least(client: Any, path: str) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        response = client.get(path)
        if response.streaming:
            next(iter(response.streaming_content))
        seconds.append(time.perf_counter() - started)
        assert response.status_code == 200, (path, response.status_code)
        response.close()
    return min(seconds)


if __name__ == "__main__":
    main()
