"""The primary is lost under load, and its replica takes its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kept import assert_kept
from tests.cluster.machine import wait_until
from tests.cluster.origin import DATABASE, Origin, pooled, site_with
from tests.cluster.postgresql import HOST, Server, copied_server, pgbouncer, replica_server
from tests.concurrency.load import Sender, log_in_at_once, mix
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form
from tests.concurrency.soundness import assert_sound

pytestmark = [pytest.mark.slow, in_the_long_form]


@contextmanager
def two_servers(folder: Path, origin: Origin) -> Iterator[tuple[Server, Server]]:
    """Yield a primary and its replica, which is two seconds behind where it answers reads."""
    with (
        copied_server(folder / "primary", origin.server) as primary,
        replica_server(folder / "replica", primary, recovery_min_apply_delay="2s") as replica,
    ):
        yield primary, replica


def either(primary: Server, replica: Server) -> dict[str, Any]:
    """Return the entry of whichever of the two takes writes, as the documentation has it."""
    return {
        "HOST": f"{HOST},{HOST}",
        "PORT": f"{primary.port},{replica.port}",
        "OPTIONS": {"target_session_attrs": "read-write", "connect_timeout": 2},
    }


#: What finds the new primary.
WAYS = ("the client", "the pool")


@pytest.mark.parametrize("way", WAYS)
def test_nothing_acknowledged_is_lost_with_synchronous_replication(
    folder: Path, origin: Origin, way: str
) -> None:
    name = f"synchronous-{way.split()[-1]}"
    with ExitStack() as stack:
        primary, replica = stack.enter_context(two_servers(folder / name, origin))
        pool = None
        if way == "the pool":
            pool = stack.enter_context(pgbouncer(folder / name / "pgbouncer", primary))
        database = pooled(pool) if pool else either(primary, replica)
        site = stack.enter_context(site_with(origin, name, database))
        # On this one alone: the replica has nobody to wait for when it is the primary.
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.ask("SELECT pg_reload_conf()")
        wait_until(
            lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync",
            "a synchronous replica",
        )
        failures: list[BaseException] = []

        def lose() -> None:
            try:
                tokens = "SELECT count(*) FROM oauth2_provider_accesstoken"
                wait_until(lambda: primary.ask(tokens, database=DATABASE) > 40, "load")
                primary.kill()
                replica.promote()
                if pool:
                    pool.lead_to(replica)
            except BaseException as error:  # it is raised below
                failures.append(error)

        loss = threading.Thread(target=lose)
        loss.start()
        events = mix(
            site.address,
            ["opaque", "jwt"],
            [None, "phone", "laptop"],
            rounds=10 * ROUNDS,
            seed=13,
            seconds=15.0 * ROUNDS,
        )
        loss.join()
        assert failures == []

        # Meanwhile there are errors, and then service comes back by itself.
        assert_statuses(events, 0, 400, 500, 503)
        assert any(event.status in {500, 503} for event in events)
        after = log_in_at_once(site.address, "opaque", ["phone", "laptop", None] * 8)
        assert_statuses(after)
        assert_kept(site, events)
        assert_sound(site, events + after)


def test_what_asynchronous_replication_loses(folder: Path, origin: Origin) -> None:
    """As the documentation says: what the replica has not heard of has not happened."""
    with (
        two_servers(folder / "asynchronous", origin) as (primary, replica),
        site_with(origin, "asynchronous", either(primary, replica)) as site,
    ):
        sender = Sender(site.address, "opaque")
        known = sender.login("phone")
        replica.catch_up(primary)
        replica.hear_nothing()
        assert sender.revoke(None, known.access).status == 200
        unknown = sender.login("laptop")
        assert [sender.is_active(event.access) for event in (known, unknown)] == [False, True]

        primary.kill()
        replica.promote()
        # Each worker finds out for itself.
        answered: list[int] = []

        def is_back() -> bool:
            answered.append(Sender(site.address, "opaque").introspect("none").status)
            return len(answered) > 20 and set(answered[-20:]) == {200}

        wait_until(is_back, "workers that have found the new primary")
        assert [sender.is_active(event.access) for event in (known, unknown)] == [True, False]
        # Who is told so revokes it again.
        assert sender.revoke(None, known.access).status == 200
        assert not sender.is_active(known.access)
