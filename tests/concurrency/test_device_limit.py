"""The limit of devices between processes: never more than allowed, and no known device is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.concurrency.cluster import settle
from tests.concurrency.load import Event, Sender, in_processes, log_in_at_once
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form_on_sqlite
from tests.concurrency.site import MAX_DEVICES, RunningSite

pytestmark = pytest.mark.slow

#: Twenty with CONCURRENCY_ROUNDS=5, half of them with each type of token.
NUMBER_OF_ROUNDS = 2 if ROUNDS == 1 else 4 * ROUNDS

PROCESSES = 4
NEW_DEVICES = 16 if ROUNDS == 1 else 64

KNOWN = [f"known {number}" for number in range(MAX_DEVICES)]

REFUSAL = f"The user is signed in on {MAX_DEVICES} devices, and this client allows no more."

#: What is live of an application, by the binding value.
_LIVE = """
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
of_client = {"application__client_id": %r}
access = AccessToken.objects.filter(expires__gt=timezone.now(), **of_client)
refresh = RefreshToken.objects.filter(revoked__isnull=True, access_token__isnull=False, **of_client)
result = [sorted(rows.values_list("binding__binding_value", flat=True)) for rows in (access, refresh)]
"""


def live_devices(site: RunningSite, client_id: str) -> list[str]:
    """Return the devices that hold a live pair of tokens; there is nothing else."""
    settle()
    access, refresh = site.run(_LIVE % client_id)
    assert access == refresh
    return [*access]


def _log_in(address: str, client_id: str, bindings: list[str], start: float) -> list[Event]:
    """Log in with each binding, from four connections at once, beginning at a set time."""
    senders = [Sender(address, client_id) for _ in range(4)]
    time.sleep(max(0.0, start - time.monotonic()))
    with ThreadPoolExecutor(len(senders)) as pool:
        shares = [bindings[number :: len(senders)] for number in range(len(senders))]
        return [event for share in pool.map(_log_in_each, senders, shares) for event in share]


def _log_in_each(sender: Sender, bindings: list[str]) -> list[Event]:
    return [sender.login(binding) for binding in bindings]


def _use_known(address: str, client_id: str, start: float, times: int) -> list[Event]:
    """Refresh on each of the known devices again and again, and log in again where that was signed out."""
    time.sleep(max(0.0, start - time.monotonic()))
    use = partial(_use, address, client_id, times)
    with ThreadPoolExecutor(len(KNOWN)) as pool:
        return [event for events in pool.map(use, KNOWN) for event in events]


def _use(address: str, client_id: str, times: int, binding: str) -> list[Event]:
    sender = Sender(address, client_id)
    events = [sender.login(binding)]
    for number in range(times):
        last = events[-1]
        if last.status != 200 or number % 4 == 3:
            events.append(sender.login(binding))
        else:
            settle()
            events.append(sender.refresh(binding, last.data["refresh_token"]))
    return events


def one_round(site: RunningSite, client_id: str, number: int) -> tuple[list[Event], list[Event]]:
    """Sign in on the known devices, then on many new ones while the known ones are used.

    Return what the new ones and what the known ones were answered.
    """
    for binding in KNOWN:
        assert Sender(site.address, client_id).login(binding).status == 200
    settle()
    assert live_devices(site, client_id) == KNOWN
    start = time.monotonic() + 3.0
    work: list[Callable[[], list[Event]]] = [
        partial(
            _log_in,
            site.address,
            client_id,
            [f"new {number} {process} {each}" for each in range(NEW_DEVICES)],
            start,
        )
        for process in range(PROCESSES)
    ]
    work.append(partial(_use_known, site.address, client_id, start, 20))
    events = in_processes(work)
    known = [event for event in events if event.binding in KNOWN]
    new = [event for event in events if event.binding not in KNOWN]
    assert len(new) == PROCESSES * NEW_DEVICES
    return new, known


@in_the_long_form_on_sqlite
def test_evicting_leaves_as_many_devices_as_are_allowed(running_sites: Callable[..., RunningSite]) -> None:
    site = running_sites()
    for number in range(NUMBER_OF_ROUNDS):
        client_id = ("evict opaque", "evict jwt")[number % 2]

        new, known = one_round(site, client_id, number)

        assert_statuses(new)
        assert_statuses([event for event in known if event.kind == "login"])
        assert_statuses(known, 400)
        assert {event.data["error"] for event in known if event.status == 400} <= {"invalid_grant"}
        live = live_devices(site, client_id)
        assert len(live) == MAX_DEVICES
        answered = {event.access: event.binding for event in [*new, *known] if event.status == 200}
        sender = Sender(site.address, client_id)
        in_use = {
            binding for token, binding in answered.items() if binding in live and sender.is_active(token)
        }
        assert in_use == {*live}
        site.empty()
    assert "Traceback" not in site.errors()


@in_the_long_form_on_sqlite
def test_refusing_never_disturbs_a_known_device(running_sites: Callable[..., RunningSite]) -> None:
    site = running_sites()
    for number in range(NUMBER_OF_ROUNDS):
        client_id = ("refuse opaque", "refuse jwt")[number % 2]

        new, known = one_round(site, client_id, number)

        assert_statuses(known)
        assert Counter((event.status, event.data.get("error_description")) for event in new) == {
            (400, REFUSAL): len(new)
        }
        assert live_devices(site, client_id) == KNOWN
        site.empty()
    assert "Traceback" not in site.errors()


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("client_id", ["refuse opaque", "refuse jwt"])
def test_of_simultaneous_new_devices_as_many_get_in_as_are_allowed(
    running_sites: Callable[..., RunningSite], client_id: str
) -> None:
    site = running_sites()
    for number in range(ROUNDS):
        # The first ones of the user ever, and when there is a row to be locked.
        for step in range(2):
            devices: list[str | None] = [f"new {number} {step} {each}" for each in range(NEW_DEVICES)]

            events = log_in_at_once(site.address, client_id, devices)

            assert_statuses(events, 400)
            assert {event.data["error_description"] for event in events if event.status == 400} == {REFUSAL}
            let_in = [event for event in events if event.status == 200]
            assert live_devices(site, client_id) == sorted(str(event.binding) for event in let_in)
            assert len(let_in) == MAX_DEVICES
            for event in let_in:
                Sender(site.address, client_id).revoke(None, event.data["refresh_token"])
        site.empty()
    assert "Traceback" not in site.errors()
