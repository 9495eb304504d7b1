"""JWTs that were revoked before they expired: the API learns of them from the server's feed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from oauth_binding.resource_server import revocation_feed_client
from oauth_binding.storage.ending import CLOCK_LEEWAY
from tests.helpers.resource_server import EXPIRED, Api, Issuer, assert_invalid, assert_unavailable
from tests.helpers.servers import FAILURES, OTHER_KEY, jwk, refuse, send

PATH = "/revoked"
INTERVAL = 30
MAX_STALE = 600


@pytest.fixture(autouse=True)
def _with_feed(configure: Callable[..., None], api: Api, issuer: Issuer) -> None:
    configure(REVOCATION_FEED_URL=f"{issuer.url}{PATH}")


@pytest.fixture
def ask(api: Api, issuer: Issuer) -> Callable[..., int]:
    """Return a function that calls the API with a token of a certain jti, and returns the status."""

    def call(jti: str = "token-1", **claims: Any) -> int:
        return api.call(issuer.token(jti=jti, **claims)).status

    return call


class TestDelay:
    def test_a_revoked_token_is_refused_within_the_interval(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        assert (ask("phone"), ask("laptop")) == (200, 200)
        issuer.revoke("phone")

        pass_time(INTERVAL + 0.1)

        assert_invalid(api.call(issuer.token(jti="phone")))
        assert_invalid(api.call(issuer.token(jti="phone"), "/plain/"))
        assert ask("laptop") == 200

    def test_the_feed_is_asked_no_more_than_needed(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        for seconds, requests in ((0, 1), (1, 1), (13.5, 1), (1, 2), (14, 2), (1.5, 3)):
            pass_time(seconds)
            assert ask() == 200
            assert len(issuer.requests(PATH)) == requests

    def test_a_token_that_is_not_valid_is_not_looked_up(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call(issuer.token(OTHER_KEY)))
        assert issuer.requests(PATH) == []

    def test_one_thread_renews_the_list_early_while_others_go_on(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        ask()
        asked, go_on = let_wait(issuer)
        pass_time(INTERVAL / 2 + 1)
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(Api().call, issuer.token())
            try:
                assert asked.wait(5)
                assert ask() == 200
                assert not fetching.done()
            finally:
                go_on.set()
            assert fetching.result().status == 200

    def test_after_the_interval_everybody_waits_for_it(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        ask()
        issuer.revoke("phone")
        asked, go_on = let_wait(issuer)
        pass_time(INTERVAL + 1)
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(Api().call, issuer.token(jti="phone")) for _ in range(4)]
            assert asked.wait(5)
            time.sleep(0.2)
            assert not any(call.done() for call in calls)
            go_on.set()
            assert [call.result().status for call in calls] == [401] * 4
        assert len(issuer.requests(PATH)) == 2

    def test_the_first_requests_wait_for_one_list(self, api: Api, issuer: Issuer) -> None:
        issuer.revoke("phone")
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: Api().call(issuer.token(jti="phone")).status, range(8)))

        assert statuses == [401] * 8
        assert len(issuer.requests(PATH)) == 1


def let_wait(issuer: Issuer) -> tuple[threading.Event, threading.Event]:
    """Let the feed answer late: return what it sets when it is asked, and what it waits for."""
    asked, go_on = threading.Event(), threading.Event()

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        request = issuer.requests(PATH)[-1]
        asked.set()
        go_on.wait(5)
        issuer.send_feed(handler, request)

    issuer.respond[PATH] = answer_late
    return asked, go_on


class TestMerging:
    def test_the_api_asks_for_what_is_new(
        self,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
    ) -> None:
        now = int(time.time())
        issuer.revoked["old"] = (now - 100, now + 600)
        assert ask("old") == 401
        issuer.revoke("new")
        pass_time(INTERVAL)

        assert (ask("old"), ask("new"), ask("live")) == (401, 401, 200)
        first, second = issuer.requests(PATH)
        assert "since" not in first.query
        assert now - 5 <= int(second.query["since"]) <= now

    def test_users_who_are_not_active_may_be_again(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """Unlike what is revoked, that part is never merged."""
        issuer.revoke("phone")
        issuer.suspended = {"tablet": int(time.time()) + 600}
        assert (ask("phone"), ask("tablet"), ask("live")) == (401, 401, 200)
        issuer.suspended = {}
        pass_time(INTERVAL)

        assert (ask("phone"), ask("tablet"), ask("live")) == (401, 200, 200)

    def test_a_server_that_knows_nothing_of_them(self, issuer: Issuer, ask: Callable[..., int]) -> None:
        issuer.revoke("phone")
        issuer.feed_claims = {"suspended": None}

        assert (ask("phone"), ask("live")) == (401, 200)

    def test_once_an_hour_it_asks_for_all(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        ask()
        for _ in range(3):
            pass_time(1201)
            ask()

        assert ["since" in request.query for request in issuer.requests(PATH)] == [False, True, True, False]

    def test_nothing_new(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """An answer that has not changed is not sent again (RFC 9110 section 13.1.2)."""
        issuer.feed_claims = {"next": int(time.time()) - 60}
        issuer.revoke("phone")
        for _ in range(4):
            assert (ask("phone"), ask("live")) == (401, 200)
            pass_time(INTERVAL)

        sent = [request.headers["If-None-Match"] for request in issuer.requests(PATH)]
        assert [bool(etag) for etag in sent] == [False, False, True, True]
        issuer.revoke("laptop")
        assert (ask("phone"), ask("laptop"), ask("live")) == (401, 401, 200)

    def test_not_modified_without_having_been_asked(self, issuer: Issuer, ask: Callable[..., int]) -> None:
        issuer.respond[PATH] = lambda handler: send(handler, b"", 304)

        assert ask() == 503

    def test_tokens_that_have_expired_are_forgotten_and_refused(
        self,
        api: Api,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
    ) -> None:
        """The server forgets about them, so there is no leeway by its clock."""
        now = int(time.time())
        issuer.revoke("phone", expires_in=2)
        assert (ask("phone", exp=now + 2), ask("live", exp=now + 2)) == (401, 200)
        issuer.ahead = 3
        pass_time(INTERVAL + 1)

        assert ask("other") == 200
        assert_invalid(api.call(issuer.token(jti="phone", exp=now + 2)), EXPIRED)
        assert_invalid(api.call(issuer.token(jti="live", exp=now + 2)), EXPIRED)


class TestOrder:
    """Answers of several hosts, of caches and of mirrors come in any order."""

    @pytest.fixture
    def at(self, issuer: Issuer, pass_time: Callable[[float], None]) -> Callable[..., None]:
        """Return a function that lets the next answer be that of a host whose clock is behind."""

        def set_clock(behind: int = 0) -> None:
            issuer.ahead = -behind
            pass_time(INTERVAL + 1)

        return set_clock

    def as_of(self, issuer: Issuer) -> float:
        revoked = revocation_feed_client.revocation_feed(f"{issuer.url}{PATH}").revoked
        assert revoked is not None
        return revoked.as_of

    def test_a_complete_list_that_is_older_makes_nobody_forget(
        self,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        issuer.revoke("phone")
        assert (ask("phone"), ask("live")) == (401, 200)
        before = self.as_of(issuer)
        pass_time(3601)
        issuer.revoked = {}
        issuer.ahead = -310

        assert (ask("phone"), ask("live")) == (503, 503)
        assert "it is older than what is known" in caplog.text
        assert self.as_of(issuer) == before
        assert "since" not in issuer.requests(PATH)[-1].query

        issuer.ahead = 0
        pass_time(11)
        assert (ask("phone"), ask("live")) == (401, 200)

    def test_an_old_answer_counts_as_none(
        self,
        issuer: Issuer,
        at: Callable[..., None],
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
    ) -> None:
        ask()
        issuer.revoke("phone")
        at(310)

        # The last list goes on serving, as in an outage, and the server is soon asked again.
        assert ask("phone") == 200
        issuer.ahead = 0
        pass_time(16)
        assert ask("phone") == 401

    def test_an_old_answer_again_and_again_is_an_outage(
        self,
        issuer: Issuer,
        at: Callable[..., None],
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
    ) -> None:
        ask()
        at(310)
        for _ in range(MAX_STALE // 60 + 1):
            pass_time(60)
            ask()

        assert ask() == 503

    def test_a_host_whose_clock_is_behind_adds_and_takes_nothing_away(
        self, issuer: Issuer, at: Callable[..., None], ask: Callable[..., int]
    ) -> None:
        issuer.revoke("phone")
        assert ask("phone") == 401
        before = self.as_of(issuer)

        issuer.revoked = {}
        issuer.revoke("laptop")
        # Its next is not asked for yet.
        issuer.feed_claims = {"revoked": {"laptop": int(time.time()) + 600}}
        at(250)

        assert (ask("phone"), ask("laptop"), ask("live")) == (401, 401, 200)
        assert self.as_of(issuer) == before

    def test_whom_an_older_answer_does_not_suspend_is_still_suspended(
        self, issuer: Issuer, at: Callable[..., None], ask: Callable[..., int]
    ) -> None:
        now = int(time.time())
        issuer.suspended = {"phone": now + 600}
        assert ask("phone") == 401

        issuer.suspended = {"tablet": now + 600}
        at(250)
        assert (ask("phone"), ask("tablet"), ask("live")) == (401, 401, 200)

        at(0)
        assert (ask("phone"), ask("tablet"), ask("live")) == (200, 401, 200)

    def test_what_has_expired_is_forgotten_with_the_complete_list_too(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        issuer.revoke("short", expires_in=5)
        issuer.revoke("long")
        ask()
        pass_time(3601)
        issuer.revoked = {}
        issuer.ahead = 10
        ask()

        revoked = revocation_feed_client.revocation_feed(f"{issuer.url}{PATH}").revoked
        assert revoked is not None
        assert list(revoked.tokens) == ["long"]

    def test_the_clocks_are_apart_as_far_as_the_server_lets_them(self) -> None:
        assert revocation_feed_client.CLOCKS_APART == CLOCK_LEEWAY


class TestVerifying:
    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://other.example"},
            {"iss": None},
            {"exp": int(time.time()) - 60},
            {"exp": None},
            {"iat": int(time.time()) + 3600},
            {"iat": "x"},
            {"next": None},
            {"next": [1]},
            {"revoked": None},
            {"revoked": ["phone"]},
            {"revoked": {"phone": "x"}},
            {"revoked": {"phone": True}},
            {"since": 1},
        ],
    )
    def test_what_a_feed_has_to_say(
        self,
        api: Api,
        issuer: Issuer,
        caplog: pytest.LogCaptureFixture,
        ask: Callable[..., int],
        claims: dict[str, Any],
    ) -> None:
        issuer.feed_claims = claims

        assert ask() == 503
        assert f"The revocation feed at {issuer.url}{PATH} can't be fetched: it" in caplog.text

    @pytest.mark.parametrize(
        "headers", [{"typ": "at+jwt"}, {"typ": "JWT"}, {"kid": "other"}, {"crit": ["x"], "x": 1}]
    )
    def test_headers(self, issuer: Issuer, ask: Callable[..., int], headers: dict[str, Any]) -> None:
        issuer.feed_headers = headers

        assert ask() == 503

    def test_a_wrong_signature(self, issuer: Issuer, ask: Callable[..., int]) -> None:
        issuer.feed_key = OTHER_KEY

        assert ask() == 503

    def test_a_feed_is_no_access_token(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call(issuer.token(headers={"typ": "revoked-tokens+jwt"})))

    def test_all_is_not_what_is_new(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """An answer of a cache that takes no notice of the query string is not believed."""
        ask()
        first = issuer.requests(PATH)[0]
        issuer.respond[PATH] = lambda handler: issuer.send_feed(handler, first)
        pass_time(MAX_STALE + 1)

        assert ask() == 503

    def test_keys_are_rotated(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        ask()
        issuer.keys = [*issuer.keys, jwk(OTHER_KEY, kid="two")]
        issuer.feed_key, issuer.feed_headers = OTHER_KEY, {"kid": "two"}
        issuer.revoke("phone")
        pass_time(INTERVAL + 1)

        assert ask("phone") == 401


class TestOutages:
    @pytest.mark.usefixtures("short_timeout")
    @pytest.mark.parametrize("failure", FAILURES)
    def test_a_feed_that_could_never_be_fetched(
        self,
        api: Api,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        issuer.respond[PATH] = failure
        started = time.monotonic()

        # It is not asked again at once.
        assert_unavailable(api.call(issuer.token()))
        assert_unavailable(api.call(issuer.token()))
        assert time.monotonic() - started < 3
        assert len(issuer.requests(PATH)) == 1

        issuer.respond.clear()
        pass_time(11)
        assert api.call(issuer.token()).status == 200

    @pytest.mark.usefixtures("short_timeout")
    @pytest.mark.parametrize("failure", FAILURES)
    def test_the_last_list_serves_for_a_while(
        self,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        issuer.revoke("phone")
        ask()
        issuer.respond[PATH] = failure

        pass_time(MAX_STALE - 5)
        assert (ask("phone"), ask("live")) == (401, 200)
        pass_time(10)
        assert (ask("phone"), ask("live")) == (503, 503)

        issuer.respond.clear()
        pass_time(11)
        assert (ask("phone"), ask("live")) == (401, 200)

    def test_max_stale_is_a_setting(
        self,
        issuer: Issuer,
        configure: Callable[..., None],
        pass_time: Callable[[float], None],
        ask: Callable[..., int],
    ) -> None:
        configure(REVOCATION_FEED_URL=f"{issuer.url}{PATH}", REVOCATION_MAX_STALE=60)
        ask()
        issuer.respond[PATH] = refuse

        pass_time(55)
        assert ask() == 200
        pass_time(10)
        assert ask() == 503

    def test_in_an_outage_only_one_waits(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        ask()
        issuer.respond[PATH] = refuse
        pass_time(INTERVAL + 1)
        ask()
        asked, go_on = let_wait(issuer)
        pass_time(11)
        with ThreadPoolExecutor(1) as pool:
            trying = pool.submit(Api().call, issuer.token())
            try:
                assert asked.wait(5)
                assert ask() == 200
                assert not trying.done()
            finally:
                go_on.set()
            assert trying.result().status == 200
