"""What happens to a user's account while requests of the user are being answered.

A request that was validated before and saves after it gets nothing that lives, whatever it was validated by,
and everything that was issued before is dead.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import pytest
from django.db import connection

from tests.concurrency.account import Account, Done, account_process
from tests.concurrency.load import Event, Sender
from tests.concurrency.site import DEVICES, EXCHANGING, LOGGING_IN, REDEEMING, RunningSite, running_site

logger = logging.getLogger(__name__)

#: How many rounds there are of each credential; 1000 find more than one wants to wait for every time.
ROUNDS = int(os.environ.get("CONCURRENCY_EVENT_ROUNDS", "12"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        connection.vendor == "sqlite" and "CONCURRENCY_EVENT_ROUNDS" not in os.environ,
        reason="has one lock, whatever it is taken for; set CONCURRENCY_EVENT_ROUNDS, or a server",
    ),
]

#: Of the requests that are sent at the same moment: two are of one device.
BINDINGS = ("phone", "phone", "laptop", None)

#: The event is at most so much later than the requests or earlier, in seconds.
LATEST = 0.04

Request = Callable[[Sender], Event]


@dataclass
class Presented:
    """What is presented in a round."""

    requests: list[Request]
    #: What was issued to the client before, or to another one whose token it exchanges.
    earlier: list[tuple[Sender, Event]] = field(default_factory=list)


def _password(site: RunningSite, account: Account, sender: Sender) -> Presented:
    return Presented([partial(Sender.login, binding=binding) for binding in BINDINGS])


def _code(site: RunningSite, account: Account, sender: Sender) -> Presented:
    """Present three codes, one of them twice."""
    codes = account.do("make_codes", sender.client_id, 3).result
    redeem = Sender.redeem_code
    return Presented([partial(redeem, binding=b, code=c) for b, c in _with_bindings(codes)])


def _device_code(site: RunningSite, account: Account, sender: Sender) -> Presented:
    """Present three device codes, one of them twice."""
    codes = account.do("approve_devices", sender.client_id, 3).result
    redeem = Sender.redeem
    return Presented([partial(redeem, binding=b, device_code=c) for b, c in _with_bindings(codes)])


def _with_bindings(codes: list[str]) -> list[tuple[str | None, str]]:
    return list(zip(BINDINGS, [codes[0], *codes], strict=True))


def _refresh_token(site: RunningSite, account: Account, sender: Sender) -> Presented:
    login = sender.login("phone")
    refresh = partial(Sender.refresh, binding=None, refresh_token=login.data["refresh_token"])
    return Presented([refresh] * len(BINDINGS), [(sender, login)])


def _exchange(site: RunningSite, account: Account, sender: Sender) -> Presented:
    mobile = Sender(site.address, "opaque")
    login = mobile.login("phone")
    exchange = partial(Sender.exchange, subject_token=login.access)
    return Presented([partial(exchange, binding=binding) for binding in BINDINGS], [(mobile, login)])


@dataclass(frozen=True)
class Credential:
    """What requests are validated by, and what is to be the end of it."""

    present: Callable[[RunningSite, Account, Sender], Presented]
    client_ids: tuple[str, ...]
    events: tuple[str, ...]


#: Whoever knows the password may log in again as soon as the user is signed out.
_NEW_PASSWORD = ("change_password", "deactivate")
_ANY = ("sign_out_everywhere", *_NEW_PASSWORD)

CREDENTIALS = {
    "password": Credential(_password, LOGGING_IN, _NEW_PASSWORD),
    "authorization code": Credential(_code, REDEEMING, _ANY),
    "device code": Credential(_device_code, DEVICES, _ANY),
    "refresh token": Credential(_refresh_token, LOGGING_IN, _ANY),
    "token exchange": Credential(_exchange, EXCHANGING, (*_ANY, "revoke")),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[RunningSite]:
    """The site, whose tokens all end with the password, also those of applications that do not bind."""
    directory = tmp_path_factory.mktemp("site")
    entries = {"PASSWORD_CHANGE_ENDS": "all"}
    with django_db_blocker.unblock(), running_site(directory, binding=entries) as site:
        yield site


@pytest.fixture(scope="module")
def account(site: RunningSite) -> Iterator[Account]:
    with account_process(site) as account:
        yield account


@dataclass
class Rounds:
    """Rounds of one credential, and what came of them."""

    site: RunningSite
    account: Account
    credential: Credential
    pool: ThreadPoolExecutor
    statuses: Counter[int] = field(default_factory=Counter)
    #: Rounds in which some requests were answered with tokens; in which all were refused.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Requests that were under way while the event was, by status.
    simultaneous: Counter[int] = field(default_factory=Counter)

    def play(self, number: int) -> None:
        choose = random.Random(number)
        varied = list(product(self.credential.client_ids, self.credential.events))
        client_id, event = varied[number % len(varied)]
        senders = [Sender(self.site.address, client_id) for _ in BINDINGS]
        presented = self.credential.present(self.site, self.account, senders[0])

        # Now the one, now the other comes first, and more or less soon.
        is_first, delay = choose.random() < 0.5, choose.uniform(0, LATEST)
        happening = self.pool.submit(self._happen, event, presented) if is_first else None
        time.sleep(delay if is_first else 0)
        sent = [
            self.pool.submit(request, sender)
            for request, sender in zip(presented.requests, senders, strict=True)
        ]
        time.sleep(0 if is_first else delay)
        happened = (happening or self.pool.submit(self._happen, event, presented)).result()
        answers = [each.result() for each in sent]
        self.account.do("restore")

        self._note(happened, answers)
        assert {answer.status for answer in answers} <= {200, 400}, (number, client_id, event)
        errors = {answer.data.get("error") for answer in answers if answer.status != 200}
        assert errors <= {"invalid_grant", "expired_token", "access_denied"}
        answered = [(senders[0], answer) for answer in answers if answer.status == 200]
        for sender, answer in presented.earlier + answered:
            assert not sender.is_active(answer.access), (number, client_id, event)
            refreshed = sender.refresh(None, answer.data.get("refresh_token", "none"))
            assert refreshed.status == 400, (number, client_id, event)
        assert self.account.do("count_live").result == {}, (number, client_id, event)

    def _happen(self, event: str, presented: Presented) -> Done:
        if event != "revoke":
            return self.account.do(event)
        ((sender, login),) = presented.earlier
        revoked = sender.revoke(None, login.data["refresh_token"])
        assert revoked.status == 200
        return Done(revoked.started, revoked.ended, None)

    def _note(self, happened: Done, answers: list[Event]) -> None:
        self.statuses.update(answer.status for answer in answers)
        self.outcomes["answered" if any(answer.status == 200 for answer in answers) else "refused"] += 1
        self.simultaneous.update(
            answer.status
            for answer in answers
            if answer.started < happened.ended and happened.started < answer.ended
        )


@pytest.mark.parametrize("name", CREDENTIALS)
def test_what_is_validated_before_an_event_gets_nothing_that_lives_after_it(
    site: RunningSite, account: Account, name: str
) -> None:
    """Each event against several requests, for applications that bind, with either type of token, and not."""
    started = time.monotonic()
    with ThreadPoolExecutor(len(BINDINGS) + 1) as pool:
        rounds = Rounds(site, account, CREDENTIALS[name], pool)
        for number in range(10 * ROUNDS):
            if number >= ROUNDS and len(rounds.outcomes) == 2:
                break
            rounds.play(number)
    logger.info(
        "%s: %s rounds, %.0f s, %s, statuses %s, of simultaneous ones %s",
        name,
        rounds.outcomes.total(),
        time.monotonic() - started,
        dict(rounds.outcomes),
        dict(rounds.statuses),
        dict(rounds.simultaneous),
    )
    assert set(rounds.statuses) == {200, 400}
    assert set(rounds.outcomes) == {"answered", "refused"}
    assert "Traceback" not in site.errors()
