"""How long the harness runs, and what it asks of all answers."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from django.db import connection

from tests.concurrency.load import Event

ROUNDS = int(os.environ.get("CONCURRENCY_ROUNDS", "1"))

in_the_long_form = pytest.mark.skipif(
    ROUNDS == 1, reason="takes long; set CONCURRENCY_ROUNDS, for instance to 5"
)

#: SQLite has one lock, whatever it is taken for: what goes wrong shows in the other tests, too.
in_the_long_form_on_sqlite = pytest.mark.skipif(
    connection.vendor == "sqlite" and ROUNDS == 1, reason="takes long; set CONCURRENCY_ROUNDS, or a server"
)


def assert_statuses(events: list[Event], *allowed: int) -> None:
    assert Counter(event.status for event in events if event.status not in {200, *allowed}) == {}
