"""The threat model names a test for each promise, and each attacker for whom something is promised."""

from __future__ import annotations

import re
from typing import Final

from tests.house.nodes import TESTS, nodes

PAGE: Final = (TESTS.parent / "docs" / "threat-model.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_promise_is_tested() -> None:
    there = nodes()

    for _against, promise, tests in rows("What is promised"):
        named = re.findall(r"`([^`]+)`", tests)
        assert named, promise
        assert [name for name in named if name not in there] == [], promise


def test_something_is_promised_against_each_attacker_and_against_no_others() -> None:
    attackers = {who for who, _has in rows("Who attacks")}
    named = {against for against, *_rest in rows("What is promised")}

    assert named == attackers
