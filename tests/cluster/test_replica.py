"""A site that reads all it can from a replica which is two seconds behind, or as far as a test wants."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests.cluster.origin import DATABASE, Origin
from tests.cluster.postgresql import Server, copied_server, replica_server
from tests.concurrency.load import Browser, Event, Sender, mix
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form
from tests.concurrency.site import MAX_DEVICES, RunningSite, another_server
from tests.concurrency.soundness import assert_sound
from tests.helpers.dpop import DeviceKey

pytestmark = pytest.mark.slow

ROUTED = {"CLUSTER_ROUTERS": json.dumps(["tests.cluster.routers.ReadsFromReplica"])}

TOKEN_TYPES = ("opaque", "jwt")


@pytest.fixture(scope="module")
def primary(folder: Path, origin: Origin) -> Iterator[Server]:
    with copied_server(folder / "primary", origin.server) as server:
        yield server


@pytest.fixture(scope="module")
def replica(folder: Path, primary: Server) -> Iterator[Server]:
    settings = {"recovery_min_apply_delay": "2s", "log_statement": "all"}
    with replica_server(folder / "replica", primary, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def routed_site(origin: Origin, primary: Server, replica: Server) -> Iterator[RunningSite]:
    databases = {"default": {"PORT": str(primary.port)}, "replica": {"PORT": str(replica.port)}}
    variables = {"CLUSTER_DATABASES": json.dumps(databases)}
    with another_server(replace(origin.site, of_workers=ROUTED), "replicated", **variables) as site:
        yield site


@pytest.fixture
def site(routed_site: RunningSite, primary: Server, replica: Server) -> RunningSite:
    """The site without tokens, and a replica that knows that."""
    tables = ("oauth2_provider_accesstoken", "oauth2_provider_refreshtoken", "oauth_binding_tokenbinding")
    primary.ask(f"TRUNCATE {', '.join(tables)} CASCADE", database=DATABASE)
    replica.catch_up(primary)
    return routed_site


@contextmanager
def behind(replica: Server) -> Iterator[None]:
    """Let a replica have nothing of what happens meanwhile."""
    replica.ask("SELECT pg_wal_replay_pause()")
    try:
        yield
    finally:
        replica.ask("SELECT pg_wal_replay_resume()")


@contextmanager
def not_asked_for_tokens(replica: Server) -> Iterator[None]:
    """Make sure that nobody reads a table of the server's from a replica meanwhile."""
    before = len(replica.log)
    yield
    read = re.findall(r'\bFROM "(oauth\w+)"', replica.log[before:])
    assert set(read) == set()


def ask_api(site: RunningSite, token: str) -> int:
    """Return the status of a call of the API, which Django REST framework authenticates."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{site.address}/api/me/", headers=headers, timeout=60).status_code


@in_the_long_form
def test_everything_at_once(site: RunningSite, replica: Server) -> None:
    """What is promised between processes holds for answers that the replica hears of two seconds later."""
    with not_asked_for_tokens(replica):
        events = mix(site.address, [*TOKEN_TYPES], [None, "phone", "laptop"], rounds=5 * ROUNDS, seed=3)
    assert_statuses(events, 400)
    assert {event.kind for event in events if event.status == 200} == {"login", "refresh", "revoke"}
    assert_sound(site, events)
    assert "Traceback" not in site.errors()


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_tokens_are_good_and_ended_at_once(site: RunningSite, replica: Server, token_type: str) -> None:
    sender, exchanging = Sender(site.address, token_type), Sender(site.address, f"exchanging {token_type}")

    def is_good(event: Event) -> bool:
        answers = {sender.is_active(event.access), ask_api(site, event.access) == 200}
        assert len(answers) == 1
        return answers.pop()

    with behind(replica), not_asked_for_tokens(replica):
        first = sender.login("phone")
        assert is_good(first)
        assert (sender.login("phone").access == first.access) is (token_type == "opaque")

        latest = sender.login("phone")
        refreshed = sender.refresh("phone", latest.data["refresh_token"])
        assert is_good(refreshed)
        assert not is_good(latest)
        assert sender.refresh("phone", latest.data["refresh_token"]).status == 400

        if token_type == "opaque":
            exchanged = exchanging.exchange("service", refreshed.access)
            assert is_good(exchanged)

        other = sender.login("laptop")
        assert sender.revoke(None, refreshed.data["refresh_token"]).status == 200
        assert [is_good(event) for event in (refreshed, other)] == [False, True]
        if token_type == "opaque":
            assert not is_good(exchanged)
    assert replica.ask("SELECT count(*) FROM oauth2_provider_accesstoken", database=DATABASE) == 0


def test_a_user_who_loses_standing(site: RunningSite, primary: Server, replica: Server) -> None:
    sender = Sender(site.address, "opaque")
    with behind(replica), not_asked_for_tokens(replica):
        login = sender.login("phone")
        primary.ask("UPDATE auth_user SET is_active = FALSE", database=DATABASE)
        try:
            assert not sender.is_active(login.access)
            assert ask_api(site, login.access) in {401, 403}
            assert sender.login("phone").status == 400
        finally:
            primary.ask("UPDATE auth_user SET is_active = TRUE", database=DATABASE)
        assert ask_api(site, login.access) == 200


@in_the_long_form
def test_the_limit_of_devices(site: RunningSite, replica: Server) -> None:
    refusing, evicting = Sender(site.address, "refuse opaque"), Sender(site.address, "evict jwt")
    with behind(replica), not_asked_for_tokens(replica):
        names = [f"device {number}" for number in range(MAX_DEVICES + 1)]
        assert [refusing.login(name).status for name in names] == [200] * MAX_DEVICES + [400]
        logins = [evicting.login(name) for name in names]
        assert [evicting.is_active(login.access) for login in logins] == [False] + [True] * MAX_DEVICES


@in_the_long_form
def test_a_proof_is_good_once(site: RunningSite, replica: Server) -> None:
    sender, key = Sender(site.address, "dpop opaque"), DeviceKey()
    with behind(replica), not_asked_for_tokens(replica):
        proof = key.proof("POST", f"{site.address}/oauth2/token")
        login = sender.login("phone", proof)
        assert (login.status, login.data["token_type"]) == (200, "DPoP")
        assert sender.login("phone", proof).data["error"] == "invalid_dpop_proof"

        proof = key.proof("GET", f"{site.address}/api/me/", access_token=login.access)
        called = [sender.call(login.access, proof) for _ in range(2)]
        assert [call.status for call in called] == [200, 401]


def test_a_browser_signs_in_and_out(site: RunningSite, replica: Server) -> None:
    """The pages of the server know at once who is signed in, also where Django's sessions are behind."""
    client = Sender(site.address, "following opaque")
    with behind(replica):
        browser = Browser(site.address)
        with not_asked_for_tokens(replica):
            first, second = [
                client.redeem_code(None, browser.authorize("following opaque").data["code"]) for _ in range(2)
            ]
            page = browser.read("/oauth2/devices/")
            assert "following opaque" in page

            sign_out = re.findall(r'href="(/oauth2/devices/(?:binding|application)-[^"/]+/sign-out/)', page)
            assert browser.press(sign_out[0]) == 302
            assert not client.is_active(first.access)
            assert not client.is_active(second.access)

        third = client.redeem_code(None, browser.authorize("following opaque").data["code"])
        other_tab = browser.tab()
        assert client.is_active(third.access)
        assert browser.log_out().status == 302
        with not_asked_for_tokens(replica):
            assert not client.is_active(third.access)
            assert "code" not in other_tab.authorize("following opaque").data
            assert "following opaque" not in other_tab.read("/oauth2/devices/")


@in_the_long_form
def test_lists_that_are_as_old_as_the_replica(site: RunningSite, primary: Server, replica: Server) -> None:
    """The admin, and django-oauth-toolkit's lists; what is done from them is done to what there is."""
    sender = Sender(site.address, "opaque")
    lists = ("/admin/oauth_binding/tokenbinding/", "/oauth2/authorized_tokens/")
    primary.ask("UPDATE auth_user SET is_staff = TRUE, is_superuser = TRUE", database=DATABASE)
    browser = Browser(site.address)
    replica.catch_up(primary)

    def seen() -> list[bool]:
        return [re.search(r"/\d+/(change|delete)/", browser.read(path)) is not None for path in lists]

    with behind(replica):
        login = sender.login("phone")
        assert seen() == [False, False]
    replica.catch_up(primary)
    assert seen() == [True, True]

    with behind(replica):
        binding = primary.ask("SELECT max(id) FROM oauth_binding_tokenbinding", database=DATABASE)
        sender.refresh("phone", login.data["refresh_token"])
        latest = sender.login("phone")
        assert browser.press(f"/admin/oauth_binding/tokenbinding/{binding}/revoke/") == 302
        assert not sender.is_active(latest.access)


_CLEAN_UP = """
import io
from django.core.management import call_command
call_command("cleartokens")
call_command("clearbindings", stdout=io.StringIO())
result = None
"""


@in_the_long_form
def test_cleaning_up(site: RunningSite, primary: Server, replica: Server) -> None:
    """It ends once the replica has heard of it, and deletes what has ended and nothing else."""
    sender = Sender(site.address, "opaque")
    ended = sender.login("phone")
    sender.revoke(None, ended.data["refresh_token"])
    live = sender.login("laptop")
    replica.catch_up(primary)

    primary.ask("UPDATE oauth_binding_tokenbinding SET last_used = '2026-01-01'", database=DATABASE)
    routed = replace(site, environment={**site.environment, **ROUTED})
    routed.run(_CLEAN_UP)

    def left(table: str) -> int:
        return int(primary.ask(f"SELECT count(*) FROM {table}", database=DATABASE))

    assert [left(f"oauth2_provider_{name}token") for name in ("access", "refresh")] == [1, 1]
    assert left("oauth_binding_tokenbinding") == 1
    assert sender.refresh("laptop", live.data["refresh_token"]).status == 200
