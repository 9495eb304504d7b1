"""A site behind pgbouncer in transaction mode: each transaction may be on another connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.origin import DATABASE, Origin, pooled, site_with
from tests.cluster.postgresql import POOL_SIZE, Pool, Server, copied_server, pgbouncer
from tests.concurrency.load import log_in_at_once, mix
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form
from tests.concurrency.soundness import assert_sound

pytestmark = pytest.mark.slow

#: What the connections have in addition.
OPTIONS: dict[str, dict[str, Any]] = {"as always": {}, "server-side binding": {"server_side_binding": True}}


@pytest.fixture(scope="module")
def server(folder: Path, origin: Origin) -> Iterator[Server]:
    with copied_server(folder / "pooled", origin.server) as server:
        yield server


@pytest.fixture(scope="module")
def pool(folder: Path, server: Server) -> Iterator[Pool]:
    with pgbouncer(folder / "pgbouncer", server) as pool:
        yield pool


@pytest.mark.parametrize(
    "options",
    [
        "as always",
        pytest.param("server-side binding", marks=in_the_long_form),
    ],
)
def test_everything_at_once(origin: Origin, pool: Pool, server: Server, options: str) -> None:
    """What is promised between processes holds where these share the connections of a pool."""
    with site_with(origin, options.replace(" ", "-"), pooled(pool, **OPTIONS[options])) as site:
        site.empty()
        events = mix(site.address, ["opaque", "jwt"], [None, "phone", "laptop"], rounds=5 * ROUNDS, seed=5)
        assert_statuses(events, 400)
        assert {event.kind for event in events if event.status == 200} == {"login", "refresh", "revoke"}
        assert_sound(site, events)

        at_once = log_in_at_once(site.address, "opaque", ["tablet"] * 16)
        assert_statuses(at_once)
        assert len({event.access for event in at_once}) == 1
        site.manage("check", "--database", "default")
        site.run("from oauth2_provider.models import clear_expired; result = clear_expired()")
        assert "Traceback" not in site.errors()
    connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    assert server.ask(connections, DATABASE) <= POOL_SIZE < len(events)
