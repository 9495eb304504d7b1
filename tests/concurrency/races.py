"""Requests that race with what ends their tokens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.concurrency.cluster import settle
from tests.concurrency.load import Sender, User
from tests.concurrency.rounds import ROUNDS, assert_statuses
from tests.concurrency.site import RunningSite


def assert_no_refresh_survives_signing_out(site: RunningSite, client_id: str) -> None:
    """Refresh with one token several times at once while the user signs out: nothing is live then."""
    outcomes: set[int] = set()
    with ThreadPoolExecutor(4) as pool:
        user = User(site.address)
        senders = [Sender(site.address, client_id) for _ in range(3)]
        for number in range(100 * ROUNDS):
            if number >= 10 * ROUNDS and outcomes == {200, 400}:
                break
            login = senders[0].login("phone")
            settle()
            # Now the one, now the other comes first, and more or less soon.
            signing_out = pool.submit(user.sign_out, client_id) if number % 2 else None
            time.sleep(0.01 * (number % 8) if signing_out else 0)
            refreshes = [pool.submit(sender.refresh, None, login.data["refresh_token"]) for sender in senders]
            time.sleep(0.01 * (number % 8) if not signing_out else 0)
            signing_out = signing_out or pool.submit(user.sign_out, client_id)
            signing_out.result()
            events = [login, *(refresh.result() for refresh in refreshes)]
            settle()
            assert_statuses(events, 400)
            outcomes |= {event.status for event in events[1:]}
            answered = [event.data for event in events if event.status == 200]
            assert [data for data in answered if senders[0].is_active(data["access_token"])] == []
            refresh_tokens = {data["refresh_token"] for data in answered}
            assert {senders[0].refresh(None, token).status for token in refresh_tokens} == {400}
        assert "Traceback" not in site.errors()
    assert outcomes == {200, 400}
