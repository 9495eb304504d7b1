"""Ended means ended: every event and lost standing, by every credential, at every door of the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.auth.models import User

from tests.ended.doors import DOORS
from tests.ended.events import EVENTS
from tests.ended.held import CREDENTIALS, Applications, Held, hold
from tests.ended.table import ALL_DOORS, KINDS, applies, assert_none, cases, cells, excepted

ROOT: Final = Path(__file__).parents[2]

#: What the page has where a credential lives on.
LIVES: Final = "\N{EN DASH}"

#: The doors in the order in which they are tried: what consumes a credential is last.
TRIED: Final = [(door, credential) for door in DOORS for credential in DOORS[door].takes]


def try_doors(held: Held) -> dict[tuple[str, str], bool]:
    """Return which credential is let in by which door."""
    return {
        (door, credential): DOORS[door].opens(held, credential)
        for door, credential in TRIED
        if DOORS[door].is_there
    }


@pytest.mark.parametrize(("name", "kind"), cases([*KINDS][:1], KINDS))
def test_what_has_ended_is_refused_at_every_door(
    make_applications: Callable[[str], Applications],
    user: User,
    bob: User,
    settings: Any,
    name: str,
    kind: str,
) -> None:
    settings.ROOT_URLCONF = "tests.ended.urls"
    event = EVENTS[name]
    applications = make_applications(kind)
    with event.under():
        before = try_doors(hold(applications, user))
        assert_none("open before the event", (cell for cell in before if not before[cell]))

        theirs = hold(make_applications(kind) if event.is_of_application else applications, bob)
        held = hold(applications, user)
        undo = event.happens(held)
        after = try_doors(held)
        if callable(undo):
            undo()

        expected = {cell: excepted(event, cell[1], cell[0]) is not None for cell in after}
        assert_none("refused after the event", (cell for cell in after if after[cell] > expected[cell]))
        assert_none("nothing more than that", (cell for cell in after if after[cell] < expected[cell]))
        if event.is_lost_standing:
            again = try_doors(hold(applications, user))
            assert_none("open when standing comes back", (cell for cell in again if not again[cell]))
        untouched = try_doors(theirs)
        assert_none("open to another user", (cell for cell in untouched if not untouched[cell]))


def test_the_table_is_total() -> None:
    """What is spared is something that there is, and each event is about some kind of tokens."""
    assert {credential for door in DOORS.values() for credential in door.takes} == set(CREDENTIALS)
    for event in EVENTS.values():
        assert event.spares.keys() | {credential for credential, _door in event.spares_at} <= set(CREDENTIALS)
        assert {*event.shuts, *(door for _credential, door in event.spares_at)} <= set(ALL_DOORS)
        assert any(applies(event, kind) for kind in KINDS)


def test_the_page_says_how_large_the_table_is() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text()
    reasons = [excepted(*cell) for cell in cells()]
    numbers = len(reasons), sum(reason is not None for reason in reasons)

    match = re.search(r"([\d,]+) cells, of which ([\d,]+) are exceptions", page)

    assert match is not None, numbers
    assert tuple(int(number.replace(",", "")) for number in match.groups()) == numbers


def test_the_page_has_the_same_table() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text()
    header = "| | " + " | ".join(CREDENTIALS) + " |"
    rows = [
        f"| {name} | "
        + " | ".join(LIVES if name_ in event.spares else "ends" for name_ in CREDENTIALS)
        + " |"
        for name, event in EVENTS.items()
    ]

    _before, found, after = page.partition(header)

    assert found, header
    assert after.splitlines()[2 : len(rows) + 2] == rows, "\n".join(rows)
