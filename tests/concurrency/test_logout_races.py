"""A logout while requests of the browser are being answered, at applications whose tokens end with it.

Once it has been answered, and all else that was under way, nothing lives that came from that browser, and all
that came from the other one does.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.db import connection

from tests.concurrency.account import Account, account_process
from tests.concurrency.load import Browser, Event, Sender
from tests.concurrency.site import FOLLOWING, RunningSite, running_site

logger = logging.getLogger(__name__)

#: How many rounds there are of each kind of request.
ROUNDS = int(os.environ.get("CONCURRENCY_EVENT_ROUNDS", "12"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        connection.vendor == "sqlite" and "CONCURRENCY_EVENT_ROUNDS" not in os.environ,
        reason="has one lock, whatever it is taken for; set CONCURRENCY_EVENT_ROUNDS, or a server",
    ),
]

#: The logout is at most so much later than the requests or earlier, in seconds: those that authorize redeem
#: what they got, too.
LATEST = 0.08

#: How many requests are sent at the same moment.
SIMULTANEOUS = 3


@dataclass
class Round:
    """Two browsers, in both of which the user has signed in to an application."""

    site: RunningSite
    client_id: str
    laptop: Browser
    phone: Browser
    #: What the application got in the phone, and for what it is told to be bound to.
    other: Event
    #: What was issued to the laptop before the logout.
    earlier: list[Event] = field(default_factory=list)

    def redeem(self, binding: str, code: str) -> Event:
        return Sender(self.site.address, self.client_id).redeem_code(binding, code)

    def sign_in(self, browser: Browser, binding: str) -> Event:
        answer = self.redeem(binding, browser.authorize(self.client_id).data["code"])
        assert answer.status == 200, answer.data
        return answer


#: Requests of one thread, whose answers are what it got.
Requests = Callable[[], list[Event]]


def _refreshing(round: Round) -> list[Requests]:
    login = round.sign_in(round.laptop, "laptop")
    round.earlier.append(login)

    def refresh() -> list[Event]:
        sender = Sender(round.site.address, round.client_id)
        return [sender.refresh(None, login.data["refresh_token"])]

    return [refresh] * SIMULTANEOUS


def _redeeming(round: Round) -> list[Requests]:
    codes = [round.laptop.authorize(round.client_id).data["code"] for _ in range(SIMULTANEOUS)]
    return [lambda code=code: [round.redeem("laptop", code)] for code in codes]  # type: ignore[misc]


def _authorizing(round: Round) -> list[Requests]:
    """Authorize in tabs, where the login session has begun; each redeems its code."""
    round.earlier.append(round.sign_in(round.laptop, "laptop"))
    return _authorizing_first(round)


def _authorizing_first(round: Round) -> list[Requests]:
    """Authorize in tabs, which begins the login session; each redeems its code."""

    def authorize(tab: Browser) -> list[Event]:
        answer = tab.authorize(round.client_id)
        if "code" not in answer.data:
            return [answer]
        return [answer, round.redeem("laptop", answer.data["code"])]

    return [partial(authorize, round.laptop.tab()) for _ in range(SIMULTANEOUS)]


def _logging_out(round: Round) -> list[Requests]:
    """Log out in two tabs more, while one refreshes."""
    refresh, *_others = _refreshing(round)

    def leave(tab: Browser) -> list[Event]:
        time.sleep(LATEST / 2)
        return [tab.log_out()]

    return [refresh, *(partial(leave, round.laptop.tab()) for _ in range(2))]


RACES = {
    "refresh": _refreshing,
    "authorization code": _redeeming,
    "authorization": _authorizing,
    "first authorization": _authorizing_first,
    "logout": _logging_out,
}

#: What an answer to each of them may be.
STATUSES = {
    "refresh": {200, 400},
    "redeem code": {200, 400},
    # 400: Django's session is gone.
    "authorize": {302, 400},
    "log out": {302},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[RunningSite]:
    directory = tmp_path_factory.mktemp("site")
    with django_db_blocker.unblock(), running_site(directory) as site:
        yield site


@pytest.fixture(scope="module")
def account(site: RunningSite) -> Iterator[Account]:
    with account_process(site) as account:
        yield account


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(SIMULTANEOUS + 1) as pool:
        yield pool


def _begin(site: RunningSite, client_id: str) -> Round:
    laptop, phone = Browser(site.address), Browser(site.address)
    round = Round(site, client_id, laptop, phone, other=None)  # type: ignore[arg-type]
    round.other = round.sign_in(phone, "phone")
    return round


def _at_once(
    pool: ThreadPoolExecutor, log_out: Callable[[], Event], requests: list[Requests], number: int
) -> tuple[Event, list[Event]]:
    """Log out and send requests at the same moment: now the one, now the other comes first."""
    choose = random.Random(number)
    is_first, delay = choose.random() < 0.5, choose.uniform(0, LATEST)
    happening = pool.submit(log_out) if is_first else None
    time.sleep(delay if is_first else 0)
    sent = [pool.submit(each) for each in requests]
    time.sleep(0 if is_first else delay)
    happened = (happening or pool.submit(log_out)).result()
    return happened, [event for each in sent for event in each.result()]


def _assert_statuses(happened: Event, answers: list[Event], at: Any) -> None:
    assert happened.status == 302, at
    for answer in answers:
        assert answer.status in STATUSES[answer.kind], (at, answer.kind, answer.status)
        if answer.status != 200 and answer.kind in {"refresh", "redeem code"}:
            assert answer.data["error"] == "invalid_grant", (at, answer.data)


#: What Django logs of a browser that is logged out while another tab waits for an answer.
_INTERRUPTED = (
    "django.contrib.sessions.exceptions.SessionInterrupted: ",
    "django.contrib.sessions.backends.base.UpdateError",
    "django.db.utils.DatabaseError: Forced update did not affect any rows.",
)


def _assert_no_errors(site: RunningSite) -> None:
    raised = re.findall(r"^[a-zA-Z_.]+(?:Error|Exception|Interrupted)\b.*", site.errors(), re.MULTILINE)
    assert [line for line in raised if not line.startswith(_INTERRUPTED)] == []


@pytest.mark.parametrize("name", RACES)
def test_nothing_lives_that_came_from_the_browser(
    site: RunningSite, account: Account, pool: ThreadPoolExecutor, name: str
) -> None:
    statuses: Counter[tuple[str, int]] = Counter()
    outcomes: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(10 * ROUNDS):
        if number >= ROUNDS and len(outcomes) == 2:
            break
        client_id = FOLLOWING[number % len(FOLLOWING)]
        at = (number, client_id)
        round = _begin(site, client_id)
        happened, answers = _at_once(pool, round.laptop.tab().log_out, RACES[name](round), number)

        _assert_statuses(happened, answers, at)
        sender = Sender(site.address, client_id)
        got = [answer for answer in answers if "access_token" in answer.data]
        for answer in round.earlier + got:
            assert not sender.is_active(answer.access), at
            assert sender.refresh(None, answer.data["refresh_token"]).status == 400, at
        assert account.do("count_of_ended_sessions").result == {}, at
        assert sender.is_active(round.other.access), at
        assert sender.refresh(None, round.other.data["refresh_token"]).status == 200, at

        statuses.update((answer.kind, answer.status) for answer in answers)
        outcomes["answered" if got else "refused"] += 1
        assert round.phone.log_out().status == 302
        account.do("restore")
        account.do("sign_out_everywhere")
    logger.info(
        "%s: %s rounds, %.0f s, %s, statuses %s",
        name,
        outcomes.total(),
        time.monotonic() - started,
        dict(outcomes),
        dict(statuses),
    )
    assert set(outcomes) == {"answered", "refused"}
    _assert_no_errors(site)


def test_a_token_that_the_other_browser_is_answered_again_is_its_own(
    site: RunningSite, account: Account, pool: ThreadPoolExecutor
) -> None:
    """Of an opaque token that both browsers were answered; or it ends with the laptop, and is another one."""
    outcomes: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(10 * ROUNDS):
        if number >= ROUNDS and len(outcomes) == 2:
            break
        round = _begin(site, "following opaque")
        login = round.sign_in(round.laptop, "app")
        code = round.phone.authorize(round.client_id).data["code"]
        redeem = partial(round.redeem, "app", code)
        happened, answers = _at_once(pool, round.laptop.tab().log_out, [lambda: [redeem()]], number)  # noqa: B023

        _assert_statuses(happened, answers, number)
        (answer,) = answers
        sender = Sender(site.address, round.client_id)
        assert answer.status == 200, (number, answer.data)
        assert sender.is_active(answer.access), number
        assert account.do("count_of_ended_sessions").result == {}, number
        outcomes["the same" if answer.access == login.access else "another"] += 1
        assert round.phone.log_out().status == 302
        assert not sender.is_active(answer.access), number
        assert sender.refresh(None, answer.data["refresh_token"]).status == 400, number
    logger.info("%s rounds, %.0f s, %s", outcomes.total(), time.monotonic() - started, dict(outcomes))
    assert set(outcomes) == {"the same", "another"}
    _assert_no_errors(site)


def test_tabs_that_authorize_first_are_one_login_session(
    site: RunningSite, account: Account, pool: ThreadPoolExecutor
) -> None:
    for number in range(ROUNDS):
        account.do("sign_out_everywhere")
        laptop = Browser(site.address)
        tabs = [laptop.tab() for _ in range(SIMULTANEOUS)]
        answers = list(pool.map(lambda tab: tab.authorize("session jwt"), tabs))
        assert all("code" in answer.data for answer in answers), number
        assert account.do("count_sessions").result == 1, number
        laptop.log_out()
        assert account.do("count_sessions").result == 0, number
        assert account.do("count_of_ended_sessions").result == {}, number
