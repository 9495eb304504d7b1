"""A site whose workers are spread over three nodes that all take writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import pytest
from django.db import connection

from tests.cluster.galera_nodes import MISSING, USER, Node, galera_cluster
from tests.cluster.kept import assert_kept
from tests.cluster.machine import cluster_folder, wait_until
from tests.concurrency.cluster import CAUSAL, settle
from tests.concurrency.load import Event, Sender, log_in_at_once, mix
from tests.concurrency.races import assert_no_refresh_survives_signing_out
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form
from tests.concurrency.site import RunningSite, another_server, prepare_site
from tests.concurrency.soundness import assert_sound

pytestmark = pytest.mark.slow

TOKEN_TYPES = ("opaque", "jwt")

DEVICES: list[str | None] = [None, "phone", "laptop"]

DATABASE = "site"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    if connection.vendor != "mysql":
        pytest.skip("asks MariaDB alone: TEST_DATABASE=mariadb")
    if MISSING:
        pytest.skip(f"needs Debian's packages: {MISSING}")
    with cluster_folder(USER) as folder, galera_cluster(folder) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def origin(nodes: list[Node], tmp_path_factory: pytest.TempPathFactory) -> RunningSite:
    """The site, which nobody serves; who looks behind it sees all that was committed on any node."""
    nodes[0].ask(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
    variables = {"CONCURRENCY_NODES": str(nodes[0].port)}
    return prepare_site(DATABASE, tmp_path_factory.mktemp("site"), variables=variables)


@contextmanager
def served_from(origin: RunningSite, name: str, nodes: list[Node], sync_wait: int) -> Iterator[RunningSite]:
    """Serve the site by two workers per node.

    :param sync_wait: ``wsrep_sync_wait`` of their connections.
    """
    of_workers = {**variables_of(nodes, sync_wait), "WEB_CONCURRENCY": str(2 * len(nodes))}
    with another_server(replace(origin, of_workers=of_workers), name) as site:
        yield site


def variables_of(nodes: list[Node], sync_wait: int) -> dict[str, str]:
    ports = ",".join(str(node.port) for node in nodes)
    return {"CONCURRENCY_NODES": ports, "CONCURRENCY_SYNC_WAIT": str(sync_wait)}


@in_the_long_form
@pytest.mark.parametrize("sync_wait", [CAUSAL, 0], ids=["causal reads", "no causal reads"])
def test_everything_at_once(
    origin: RunningSite, nodes: list[Node], sync_wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is promised between processes holds between nodes, at the latest when they have caught up."""
    # The clients know that they have to wait for each node where it may be behind.
    for name, value in variables_of(nodes, sync_wait).items():
        monkeypatch.setenv(name, value)
    with served_from(origin, f"spread-{sync_wait}", nodes, sync_wait) as site:
        site.empty()
        for token_type in TOKEN_TYPES:
            at_once = log_in_at_once(site.address, token_type, ["tablet"] * 32)
            assert_statuses(at_once)
            settle()
            answered = {event.access for event in at_once}
            sender = Sender(site.address, token_type)
            assert len([token for token in answered if sender.is_active(token)]) == 1
            assert len(answered) == (1 if token_type == "opaque" else 32)

        events = mix(site.address, list(TOKEN_TYPES), DEVICES, rounds=10 * ROUNDS, seed=sync_wait)
        assert_statuses(events, 400)
        assert {event.kind for event in events if event.status == 200} == {"login", "refresh", "revoke"}
        assert_sound(site, events)
        for client_id in (*TOKEN_TYPES, "unbound"):
            assert_no_refresh_survives_signing_out(site, client_id)
        assert "Traceback" not in site.errors()
    # Not a node that has had nothing to do.
    for node in nodes:
        assert int(node.status("wsrep_replicated")) > 10


@contextmanager
def behind(node: Node) -> Iterator[Callable[[], None]]:
    """Let a node have nothing of what happens on the others; yield what lets it go on."""
    with node.connection() as held:
        held.cursor().execute("FLUSH TABLES WITH READ LOCK")
        yield lambda: held.cursor().execute("UNLOCK TABLES")


def test_without_causal_reads_a_node_may_be_behind(origin: RunningSite, nodes: list[Node]) -> None:
    """As the documentation says, until it has caught up."""
    first, late, *_ = nodes
    with (
        served_from(origin, "first", [first], 0) as here,
        served_from(origin, "late", [late], 0) as there,
    ):
        here.empty()
        sender, other = Sender(here.address, "opaque"), Sender(there.address, "opaque")
        ended = sender.login("phone")
        wait_until(lambda: other.is_active(ended.access), "a node that has caught up")
        with behind(late) as go_on:
            issued = sender.login("laptop")
            assert sender.revoke(None, ended.access).status == 200
            assert [sender.is_active(event.access) for event in (ended, issued)] == [False, True]
            assert [other.is_active(event.access) for event in (ended, issued)] == [True, False]
            # It does nothing, as for a token that does not exist.
            assert other.revoke(None, issued.access).status == 200
            go_on()
        wait_until(lambda: other.is_active(issued.access), "a node that has caught up")
        for each in (sender, other):
            assert [each.is_active(event.access) for event in (ended, issued)] == [False, True]


def test_with_causal_reads_a_request_waits_for_what_came_before_it(
    origin: RunningSite, nodes: list[Node]
) -> None:
    first, late, *_ = nodes
    with (
        served_from(origin, "causal-first", [first], CAUSAL) as here,
        served_from(origin, "causal-late", [late], CAUSAL) as there,
        ThreadPoolExecutor(3) as pool,
    ):
        here.empty()
        sender, other = Sender(here.address, "opaque"), Sender(there.address, "opaque")
        ended = sender.login("phone")
        assert other.is_active(ended.access)
        with behind(late) as go_on:
            issued = sender.login("laptop")
            assert sender.revoke(None, ended.access).status == 200
            others = [Sender(there.address, "opaque") for _ in range(2)]
            asked = [
                pool.submit(other.is_active, event.access)
                for other, event in zip(others, (ended, issued), strict=True)
            ]
            refreshed = pool.submit(other.refresh, None, issued.data["refresh_token"])
            queries = "SELECT count(*) FROM information_schema.processlist WHERE command = 'Query' AND db = "
            waiting = f"{queries}'{DATABASE}'"
            wait_until(lambda: late.ask(waiting)[0][0] >= 2, "requests that wait")
            assert not any(each.done() for each in asked)
            assert not refreshed.done()
            go_on()
        assert [each.result() for each in asked] == [False, True]
        assert refreshed.result().status == 200
        assert "Traceback" not in there.errors()


@in_the_long_form
def test_a_node_that_is_too_far_behind(origin: RunningSite, nodes: list[Node]) -> None:
    first, late, *_ = nodes
    with (
        served_from(origin, "too-far-first", [first], CAUSAL) as here,
        served_from(origin, "too-far-late", [late], CAUSAL) as there,
    ):
        here.empty()
        known = Sender(here.address, "opaque").login("phone")
        sender = Sender(there.address, "opaque")
        assert sender.is_active(known.access)
        requests: list[Callable[[], Event]] = [
            partial(sender.login, "phone"),
            partial(sender.refresh, None, known.data["refresh_token"]),
            partial(sender.introspect, known.access),
            partial(sender.revoke, None, known.access),
        ]
        late.ask("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT1S'")
        with behind(late) as go_on:
            Sender(here.address, "opaque").login("laptop")
            events = [request() for request in requests]
            go_on()
        late.ask("SET GLOBAL wsrep_provider_options = 'repl.causal_read_timeout=PT30S'")
        assert {(event.status, event.data.get("error")) for event in events} == {
            (503, "temporarily_unavailable")
        }
        # None has used anything up.
        assert sender.refresh(None, known.data["refresh_token"]).status == 200


@in_the_long_form
def test_a_node_that_is_killed(origin: RunningSite, nodes: list[Node]) -> None:
    """Errors are those of its own workers; nothing that was acknowledged is lost, and no slot is halfway."""
    with ExitStack() as stack:
        sites = [stack.enter_context(served_from(origin, node.folder.name, [node], CAUSAL)) for node in nodes]
        here, there, lost = sites
        here.empty()
        with ThreadPoolExecutor(len(sites) + 1) as pool:
            loads = [
                pool.submit(
                    mix, site.address, ["opaque"] if number % 2 else ["jwt"], DEVICES, rounds=5 * ROUNDS,
                    seed=number, seconds=15.0 * ROUNDS,
                )
                for number, site in enumerate(sites)
            ]  # fmt: skip
            tokens = f"SELECT count(*) FROM {DATABASE}.oauth2_provider_accesstoken"
            wait_until(lambda: nodes[0].ask(tokens)[0][0] > 40, "load")
            nodes[-1].kill()
            for node in nodes[:-1]:
                node.wait_for_cluster(2)
            sender = Sender(there.address, "opaque")
            ended, issued = sender.login("television"), Sender(here.address, "opaque").login("tablet")
            assert sender.revoke(None, ended.access).status == 200
            nodes[-1].come_back()
            *survived, on_lost = [load.result() for load in loads]

        # The others wait until they know that it is gone.
        assert_statuses([*survived[0], *survived[1], ended, issued], 400)
        assert_statuses(on_lost, 0, 400, 500, 503)
        assert any(event.status in {500, 503} for event in on_lost)
        events = [event for load in (*survived, on_lost) for event in load]
        assert_kept(here, events)
        # What happened meanwhile is known where it comes back.
        sender = Sender(lost.address, "opaque")
        assert [sender.is_active(event.access) for event in (ended, issued)] == [False, True]
        for site in sites:
            after = log_in_at_once(site.address, "opaque", ["phone", "laptop", None] * 4)
            assert_statuses(after)
            events += after
        assert_sound(here, events)
