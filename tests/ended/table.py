"""The table: what is expected of each event, credential and door."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest

from tests.ended.doors import DOORS, ELSEWHERE, GIVES_NOTHING
from tests.ended.events import EVENTS, Event
from tests.ended.held import CREDENTIALS, Kind

KINDS: Final = {
    "bound JWTs": Kind(is_bound=True, is_jwt=True),
    "unbound opaque tokens": Kind(is_bound=False, is_jwt=False),
    "JWTs of a login session": Kind(is_bound=True, is_jwt=True, is_of_session=True),
    "bound opaque tokens": Kind(is_bound=True, is_jwt=False),
    "unbound JWTs": Kind(is_bound=False, is_jwt=True),
    "opaque tokens of a login session": Kind(is_bound=True, is_jwt=False, is_of_session=True),
}

ALL_DOORS: Final = (*DOORS, *ELSEWHERE, *GIVES_NOTHING)


def excepted(event: Event, credential: str, door: str) -> str | None:
    """Return why a credential is not refused at a door after an event; None where it is."""
    if door in GIVES_NOTHING:
        return GIVES_NOTHING[door]
    takes = DOORS[door].takes if door in DOORS else ELSEWHERE[door]
    if credential not in takes:
        return "the door does not take it"
    if door in event.shuts:
        return None
    return event.spares_at.get((credential, door)) or event.spares.get(credential)


def applies(event: Event, kind: str) -> bool:
    """Return whether an event is about a kind of tokens."""
    return event.kinds(KINDS[kind])


def cells() -> Iterator[tuple[Event, str, str]]:
    """Yield the cells of the table."""
    for event in EVENTS.values():
        for credential in CREDENTIALS:
            for door in ALL_DOORS:
                yield event, credential, door


def cases(fast: Iterable[str], kinds: Iterable[str]) -> list[Any]:
    """Return the events with the kinds of tokens that they are about, as parameters of a test.

    :param fast: the kinds of those that are not slow.
    :param kinds: all kinds.
    """
    return [
        pytest.param(name, kind, id=f"{name}-{kind}", marks=() if kind in fast else pytest.mark.slow)
        for name, event in EVENTS.items()
        for kind in kinds
        if applies(event, kind)
    ]


def assert_none(rule: str, broken: Iterable[tuple[str, str]]) -> None:
    """Fail with the credentials and doors that break a rule, if there are any."""
    names = [f"{credential} at {door}" for door, credential in broken]
    if names:
        pytest.fail(f"{rule}: {'; '.join(names)}", pytrace=False)
