"""Noting a report while somebody else writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.project import Project, migrate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere, who writes locks rows"),
]


def test_an_api_waits_for_nobody(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    database = make_database()
    project.write_settings("bound", default=database)
    project.call("bound", migrate)
    token = project.call("bound", sign_in)

    with closing(sqlite3.connect(database["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, seconds, is_noted, timeout = project.call("bound", ask, token)
        other.execute("ROLLBACK")
    assert (status, is_noted) == (200, False)
    assert seconds < database["OPTIONS"]["timeout"] / 4

    # What else is written waits as before, and the next request is noted.
    assert timeout == database["OPTIONS"]["timeout"] * 1000
    assert project.call("bound", ask, token)[2]


# What runs in the processes of the site


def sign_in() -> str:
    user = User.objects.create_user("alice", password=PASSWORD)
    site = Site(make_application("opaque", require_presented_binding="report"), user)
    return site.bound("phone").access


def ask(token: str) -> tuple[int, float, bool, int]:
    """Call an API, and return its status, how long it took, and whether it is noted that it named nothing.

    The last is how long the database waits for others now, in milliseconds.
    """
    begun = time.monotonic()
    status = Client().get("/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code
    seconds = time.monotonic() - begun
    is_noted = TokenBinding.objects.filter(presented_binding_missed__isnull=False).exists()
    with connection.cursor() as cursor:
        (timeout,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    return status, seconds, is_noted, timeout
