"""JWTs that were revoked before they expired: the API learns of them from the server's feed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import time_machine

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
            assert len(issuer.heads(PATH)) == requests

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
        assert len(issuer.heads(PATH)) == 2

    def test_the_first_requests_wait_for_one_list(self, api: Api, issuer: Issuer) -> None:
        issuer.revoke("phone")
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: Api().call(issuer.token(jti="phone")).status, range(8)))

        assert statuses == [401] * 8
        assert len(issuer.heads(PATH)) == 1


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


def froms(issuer: Issuer) -> list[int]:
    """Return the moments as of which the feed was asked what was revoked."""
    return [int(asked.query["from"]) for asked in issuer.requests(PATH) if "from" in asked.query]


class TestPieces:
    """The feed is read piece by piece, and each of them as often as needed."""

    @pytest.fixture(autouse=True)
    def _not_at_the_end_of_an_hour(self) -> Iterator[None]:
        with time_machine.travel(datetime(2040, 5, 6, 7, 30, 30, tzinfo=UTC), tick=True):
            yield

    def test_the_api_asks_for_what_is_new(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        now = int(time.time())
        issuer.revoked["old"] = (now - 100, now + 600)
        assert ask("old") == 401
        before = len(froms(issuer))
        issuer.revoke("new")
        pass_time(INTERVAL)

        assert (ask("old"), ask("new"), ask("live")) == (401, 401, 200)
        assert froms(issuer)[before:] == [now // 60 * 60]

    def test_from_nothing(self, issuer: Issuer, ask: Callable[..., int]) -> None:
        now = int(time.time())
        for minutes in (0, 3, 8, 29, 31, 90, 179):
            issuer.revoked[f"{minutes} minutes ago"] = (now - 60 * minutes, now + 600)

        assert [ask(jti) for jti in issuer.revoked] == [401] * 7
        assert ask("live") == 200
        asked = froms(issuer)
        assert len(asked) == len(set(asked))
        # By the hour, as long as it is closed, and then by the minute.
        assert asked[:4] == [
            start - start % 3600 + hour * 3600 for start in [now - 10740] for hour in range(4)
        ]
        assert asked[4] - asked[3] == 60

    def test_from_the_middle(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """An API that nobody has called for a while reads what was closed meanwhile, and nothing before."""
        issuer.revoke("before", expires_in=8000)
        assert ask("before") == 401
        before, began = len(froms(issuer)), int(time.time())
        issuer.ahead = 25 * 60
        issuer.revoked["between"] = (began + 700, began + 6000)
        pass_time(25 * 60)
        with time_machine.travel(began + 25 * 60, tick=True):
            issuer.ahead = 0
            exp = began + 9000
            assert [ask(jti, exp=exp) for jti in ("before", "between", "live")] == [401, 401, 200]

        asked = froms(issuer)[before:]
        assert asked == sorted(set(asked))
        assert asked[0] == (began - 300) // 60 * 60

    def test_more_than_one_request_can_read(
        self,
        issuer: Issuer,
        ask: Callable[..., int],
        pass_time: Callable[[float], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        now = int(time.time())
        for minutes in range(12, 30):
            issuer.revoked[f"{minutes} minutes ago"] = (now - 60 * minutes, now + 600)

        def answer_slowly(handler: BaseHTTPRequestHandler) -> None:
            pass_time(1)
            issuer.send_feed(handler, issuer.requests(PATH)[-1])

        issuer.respond[PATH] = answer_slowly
        statuses: list[int] = []
        while len(statuses) < 20 and 200 not in statuses:
            pass_time(0.2)
            statuses.append(ask("live"))

        assert statuses[0] == 503
        assert 3 < len(statuses) < 20
        assert set(statuses[:-1]) == {503}
        assert "more of it than one request reads" in caplog.text
        # Each piece was read once.
        assert len(froms(issuer)) == len(set(froms(issuer)))
        issuer.respond.clear()
        assert [ask(jti) for jti in issuer.revoked] == [401] * 18

    def test_what_has_not_changed_is_not_read_again(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        issuer.revoke("phone")
        ask()
        before = len(issuer.requests(PATH))
        for _ in range(3):
            pass_time(INTERVAL)
            assert (ask("phone"), ask("live")) == (401, 200)

        requests = issuer.requests(PATH)[before:]
        assert [request.query for request in requests] == [{}, {}, {}]
        assert all(request.headers["If-None-Match"] for request in requests)

    def test_what_is_added_late_to_a_minute_that_was_read(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """By a transaction that was open for long, or a host whose clock is behind."""
        now = int(time.time())
        for seconds in (0, 100, 200, 300, 400, 440):
            jti = f"{seconds} seconds ago"
            assert ask(jti) == 200
            issuer.revoked[jti] = (now - seconds, now + 600)
            pass_time(INTERVAL)
            assert ask(jti) == 401

    def test_a_minute_in_parts(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """Where much was revoked, a piece is of less than a minute."""
        issuer.span = 10
        now = int(time.time())
        issuer.revoked = {f"{second}": (now - second, now + 600) for second in range(200)}
        assert {ask(jti) for jti in issuer.revoked} == {401}

        pass_time(INTERVAL)
        before = len(froms(issuer))
        ask()
        assert len(froms(issuer)) == before

    def test_a_minute_that_changes_while_its_parts_are_read(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        issuer.span = 10
        now = int(time.time())
        issuer.revoked["early"] = (now, now + 600)

        def revoke_meanwhile(handler: BaseHTTPRequestHandler) -> None:
            asked = issuer.requests(PATH)[-1]
            if asked.query.get("from") == str(now // 60 * 60 + 50):
                issuer.revoked["late"] = (now // 60 * 60 + 1, now + 600)
            issuer.send_feed(handler, asked)

        issuer.respond[PATH] = revoke_meanwhile
        assert (ask("early"), ask("late")) == (401, 200)
        pass_time(INTERVAL)
        assert (ask("early"), ask("late"), ask("live")) == (401, 401, 200)

    @pytest.mark.parametrize(
        "claims",
        [
            {"from": 10**10},
            {"from": "1"},
            {"from": None},
            {"until": None},
            {"until": 60},
            {"until": "x"},
            {"revoked": None},
            {"revoked": ["phone"]},
            {"revoked": {"phone": "x"}},
            {"revoked": {"phone": True}},
            {"state": 1},
            {"state": "open", "iat": 1},
        ],
    )
    def test_a_piece_that_is_none(
        self,
        issuer: Issuer,
        ask: Callable[..., int],
        caplog: pytest.LogCaptureFixture,
        claims: dict[str, Any],
    ) -> None:
        issuer.revoke("phone")
        issuer.piece_claims = claims

        assert (ask("phone"), ask("live")) == (503, 503)
        assert f"The revocation feed at {issuer.url}{PATH} can't be fetched: it" in caplog.text

    def test_a_piece_of_a_cache_that_was_not_closed_then(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        """It may lack what was added later."""
        now = int(time.time())
        issuer.revoked["phone"] = (now - 1200, now + 600)
        issuer.piece_claims = {"iat": now - 1190, "exp": now + 60, "state": "of then"}
        assert ask("phone") == 503

        issuer.piece_claims = {"iat": now - 200, "state": "of then"}
        pass_time(11)
        assert ask("phone") == 401

    def test_a_moment_that_the_server_has_nothing_from_any_more(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        """What was before the first moment is one piece, also where another host has seen older ones."""
        issuer.feed_claims = {"first": 3600}
        assert ask() == 200
        before, began = len(froms(issuer)), int(time.time())
        issuer.ahead = 40 * 3600
        pass_time(40 * 3600)
        with time_machine.travel(began + 40 * 3600, tick=True):
            issuer.ahead = 0
            issuer.revoked["late"] = (began + 39 * 3600, began + 50 * 3600)
            exp = began + 49 * 3600
            assert [ask(jti, exp=exp) for jti in ("late", "live")] == [401, 200]

        asked = froms(issuer)[before:]
        assert asked[:2] == [(began - 300) // 60 * 60, (began + 39 * 3600) // 3600 * 3600]

    @pytest.mark.parametrize(
        "claims",
        [
            {"suspended": None},
            {"suspended": ["x"]},
            {"suspended": {"x": "x"}},
            {"state": 1},
            {"from": 10**10},
            {"until": 1},
        ],
    )
    def test_users_who_are_not_active_of_whom_nothing_can_be_read(
        self, issuer: Issuer, ask: Callable[..., int], claims: dict[str, Any]
    ) -> None:
        issuer.suspended = {"phone": int(time.time()) + 600}
        issuer.suspended_claims = claims

        assert ask("live") == 503

    def test_users_who_are_not_active_are_read_where_that_has_changed(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        def asked() -> int:
            return len([True for request in issuer.requests(PATH) if "suspended" in request.query])

        ask()
        assert asked() == 0
        for number in range(1, 3):
            issuer.suspended = {f"phone {number}": int(time.time()) + 600}
            for _ in range(2):
                pass_time(INTERVAL)
                assert ask(f"phone {number}") == 401
                assert asked() == number

    def test_users_who_are_not_active_by_when_their_tokens_expire(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        """What is the same in an hour is not read again, however much changes in another."""
        issuer.suspended_span = 600
        now = int(time.time())
        hour = now // 3600 * 3600 + 3600
        issuer.suspended = {f"{minute}": hour + 60 * minute for minute in range(0, 120, 7)}
        assert {ask(jti, exp=now + 600) for jti in issuer.suspended} == {401}
        before = len(issuer.requests(PATH))
        del issuer.suspended["7"]
        issuer.suspended["new"] = hour + 3

        pass_time(INTERVAL)

        assert [ask(jti) for jti in ("0", "7", "14", "70", "new")] == [401, 200, 401, 401, 401]
        asked = [int(each.query.get("suspended", 0)) for each in issuer.requests(PATH)[before:]]
        assert asked == [0, *range(hour, hour + 3600, 600)]

    def test_more_of_them_than_one_request_can_read(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        issuer.suspended_span = 60
        hour = int(time.time()) // 3600 * 3600 + 3600
        issuer.suspended = {f"{minute}": hour + 60 * minute for minute in range(60)}

        def answer_slowly(handler: BaseHTTPRequestHandler) -> None:
            pass_time(1)
            issuer.send_feed(handler, issuer.requests(PATH)[-1])

        issuer.respond[PATH] = answer_slowly
        statuses: list[int] = []
        while len(statuses) < 30 and 200 not in statuses:
            pass_time(0.2)
            statuses.append(ask("live"))

        assert 8 < len(statuses) < 30
        assert set(statuses[:-1]) == {503}
        asked = [each.query["suspended"] for each in issuer.requests(PATH) if "suspended" in each.query]
        assert len(asked) == len(set(asked)) == 60
        issuer.respond.clear()
        assert {ask(jti) for jti in issuer.suspended} == {401}

    def test_users_who_are_not_active_change_while_they_are_read(
        self, issuer: Issuer, ask: Callable[..., int], pass_time: Callable[[float], None]
    ) -> None:
        issuer.suspended_span = 600
        hour = int(time.time()) // 3600 * 3600 + 3600
        issuer.suspended = {"early": hour, "late": hour + 3000}

        def suspend_meanwhile(handler: BaseHTTPRequestHandler) -> None:
            asked = issuer.requests(PATH)[-1]
            if asked.query.get("suspended") == str(hour + 1200):
                issuer.suspended["meanwhile"] = hour + 1
            issuer.send_feed(handler, asked)

        issuer.respond[PATH] = suspend_meanwhile
        assert [ask(jti) for jti in ("early", "late", "meanwhile")] == [401, 401, 200]
        pass_time(INTERVAL)
        assert [ask(jti) for jti in ("early", "late", "meanwhile", "live")] == [401, 401, 401, 200]


class TestMerging:
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
        head = revocation_feed_client.revocation_feed(f"{issuer.url}{PATH}").head
        assert head is not None
        return head.as_of

    def test_a_head_that_is_older_makes_nobody_forget(
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

    def test_what_has_expired_is_forgotten(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        issuer.revoke("short", expires_in=5)
        issuer.revoke("long", expires_in=7200)
        issuer.suspended = {"short, suspended": int(time.time()) + 5}
        ask()
        feed = revocation_feed_client.revocation_feed(f"{issuer.url}{PATH}")
        assert len(feed.revoked) == 2
        assert [len(hour.tokens) for hour in feed._suspended.values()] == [1]
        pass_time(2000)
        with time_machine.travel(time.time() + 2000, tick=True):
            issuer.ahead = 1
            ask()

        assert len(feed.revoked) == 1
        assert "long" in feed.revoked
        assert sum(len(hour.tokens) for hour in feed._suspended.values()) == 0

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
            {"first": None},
            {"closed": [1]},
            {"listed": "x"},
            {"slices": None},
            {"slices": ["60"]},
            {"slices": {"x": "x"}},
            {"slices": {"60": 1}},
            {"suspended": None},
            {"suspended": ""},
            {"suspended": {"3600": None}},
            {"suspended": {"x": "x"}},
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
        assert f"The revocation feed at {issuer.url}{PATH} can't be fetched: " in caplog.text

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

    def test_the_head_is_no_other_piece(
        self, issuer: Issuer, pass_time: Callable[[float], None], ask: Callable[..., int]
    ) -> None:
        """An answer of a cache that takes no notice of the query string is not believed."""
        ask()
        first = issuer.requests(PATH)[0]
        issuer.respond[PATH] = lambda handler: issuer.send_feed(handler, first)
        issuer.revoke("phone")
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
