"""Whether a request takes longer, the more bindings and tokens there are."""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from benchmarks.plan import OURS, Job
from benchmarks.processes import Site

BATCH = 5_000
USERS = 1_000

_LOGIN = Job(OURS, "token", binding="seen")
JOBS = [
    _LOGIN,
    replace(_LOGIN, binding="new"),
    replace(_LOGIN, token="RS256"),
    replace(_LOGIN, grant="refresh_token"),
    replace(_LOGIN, endpoint="introspect"),
    replace(_LOGIN, endpoint="api"),
]


def measure(site: Site, sizes: list[int], devices: int, requests: int) -> list[list[str]]:
    """Return a table: a row for each job, with the median time as a multiple of that in the smallest site.

    :param sizes: how many bindings there are, each with an access and a refresh token.
    :param devices: how many the user has who logs in, in the last column.
    """
    process = site.process(OURS)
    columns: list[list[float]] = []
    total = 0
    for size in sizes:
        process.call("fill", rows=size - total, devices=0)
        total = size
        columns.append([_median(site, job, requests) for job in JOBS])
    process.call("fill", rows=0, devices=devices)
    columns.append([_median(site, job, requests) for job in JOBS])
    head = [
        f"{site.database}: bindings",
        *(f"{size:,}" for size in sizes),
        f"and {devices:,} of the user's",
    ]
    body = [
        [
            f"{job.grant if job.endpoint == 'token' else job.endpoint}, {job.name}",
            *(f"{column[number] / columns[0][number]:.2f}" for column in columns),
        ]
        for number, job in enumerate(JOBS)
    ]
    return [head, *body]


def _median(site: Site, job: Job, requests: int) -> float:
    seconds: list[float] = site.process(OURS).call("run", job=asdict(job), requests=requests)
    return median(seconds)


# In the contender's site.


def fill(rows: int, devices: int) -> None:
    """Make bindings of other users, and of alice, each with an opaque access and refresh token."""
    from django.contrib.auth.models import User
    from django.db import connection

    if not User.objects.filter(username="user 0").exists():
        User.objects.bulk_create([User(username=f"user {number}") for number in range(USERS)])
    others = list(User.objects.exclude(username="alice"))
    for _ in range(0, rows, BATCH):
        _make_bindings(others * (BATCH // USERS))
    for _ in range(0, devices, BATCH):
        _make_bindings([User.objects.get(username="alice")] * BATCH)
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {', '.join(connection.introspection.table_names())}")
        else:
            cursor.execute("ANALYZE")


def _make_bindings(users: list[Any]) -> None:
    from datetime import timedelta

    from django.db import transaction
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    from oauth_binding.models import TokenBinding

    application, _created = Application.objects.get_or_create(
        client_id="growth", client_type="confidential", authorization_grant_type="password"
    )
    expires = timezone.now() + timedelta(days=1)
    with transaction.atomic():
        bindings = TokenBinding.objects.bulk_create(
            [
                TokenBinding(
                    application_id=application.pk,
                    user=user,
                    binding_type="client-request",
                    binding_value=(value := secrets.token_urlsafe(16)),
                    reference=value,
                    key=secrets.token_hex(32),
                )
                for user in users
            ]
        )
        common = [
            {"user_id": binding.user_id, "application": application, "binding": binding}
            for binding in bindings
        ]
        access = AccessToken.objects.bulk_create(
            [
                AccessToken(
                    token=secrets.token_urlsafe(22),
                    slot=secrets.token_hex(32),
                    expires=expires,
                    scope="read",
                    **fields,
                )
                for fields in common
            ]
        )
        RefreshToken.objects.bulk_create(
            [
                RefreshToken(token=secrets.token_urlsafe(22), access_token=token, **fields)
                for token, fields in zip(access, common, strict=True)
            ]
        )
