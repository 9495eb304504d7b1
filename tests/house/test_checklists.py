"""The page of checklists is whole: every section, something in every cell, and tests that are there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.house.nodes import TESTS, nodes

PAGE: Final = (TESTS.parent / "docs" / "checklists.md").read_text()

#: How many points there are for servers and APIs, by document and section. A section without any is for
#: clients alone, or explains an attack.
POINTS: Final[dict[str, dict[str, int]]] = {
    "RFC 9700": {
        "2.1": 3,
        "2.1.1": 5,
        "2.1.2": 1,
        "2.2.1": 1,
        "2.2.2": 1,
        "2.3": 3,
        "2.4": 1,
        "2.5": 2,
        "2.6": 6,
        "4.1.3": 2,
        "4.2.4": 3,
        "4.3.1": 1,
        "4.3.2": 1,
        "4.4.2": 1,
        "4.5.2": 1,
        "4.5.3": 1,
        "4.6.1": 1,
        "4.7.1": 1,
        "4.8.2": 2,
        "4.9.3": 3,
        "4.10.1": 1,
        "4.10.2": 1,
        "4.10.3": 1,
        "4.11.2": 3,
        "4.12": 2,
        "4.13": 1,
        "4.14.2": 6,
        "4.15.1": 2,
        "4.16": 3,
        "4.17.2": 1,
    },
    "RFC 8725": {
        "3.1": 3,
        "3.2": 4,
        "3.3": 1,
        "3.4": 1,
        "3.5": 1,
        "3.6": 1,
        "3.7": 1,
        "3.8": 2,
        "3.9": 2,
        "3.10": 2,
        "3.11": 1,
        "3.12": 1,
    },
    "RFC 8693": {"2.1": 5, "2.1.1": 1, "2.2.1": 1, "2.2.2": 2, "4.1": 3, "4.4": 2, "5": 4},
    "RFC 9068": {"4": 10, "5": 5},
    "RFC 9449": {
        "4.3": 13,
        "5": 5,
        "5.1": 1,
        "5.2": 1,
        "6": 2,
        "6.1": 1,
        "6.2": 1,
        "7": 1,
        "7.1": 3,
        "7.2": 3,
        "8": 4,
        "8.1": 1,
        "8.2": 2,
        "9": 2,
        "10": 1,
        "10.1": 1,
        "11.1": 4,
        "11.2": 2,
        **{f"11.{number}": 1 for number in range(3, 12)},
    },
}

#: How a row begins.
STATES: Final = ("Kept", "By a setting", "Not kept", "Does not apply")

#: Where there is nothing to test.
NO_TEST: Final = "\N{EN DASH}"

#: The sections of which there have to be points, or of what is below them.
WHOLE_SECTIONS: Final = {
    "RFC 9700": {"2.1", "2.2", "2.3", "2.4", "2.5", "2.6", *(f"4.{number}" for number in range(1, 18))},
    "RFC 8725": {f"3.{number}" for number in range(1, 13)},
    "RFC 8693": {"2.1", "2.2", "4.1", "4.4", "5"},
    "RFC 9068": {"4", "5"},
    "RFC 9449": {"4.3", *(str(number) for number in range(5, 11)), *(f"11.{n}" for n in range(1, 12))},
}


@dataclass(frozen=True)
class Row:
    """A point of a checklist."""

    document: str
    section: str
    asked: str
    holds: str
    tests: str

    @property
    def state(self) -> str:
        match = re.match(r"\*\*([\w ]+)\.?\*\*", self.holds)
        return match[1] if match else ""


def rows() -> Iterator[Row]:
    document = ""
    for line in PAGE.splitlines():
        if heading := re.match(r"## (RFC \d+):", line):
            document = heading[1]
        elif line.startswith("| ") and not line.startswith("| Section |"):
            yield Row(document, *(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]))


ROWS: Final = list(rows())


@pytest.mark.parametrize("document", POINTS)
def test_every_section_has_its_points(document: str) -> None:
    assert Counter(row.section for row in ROWS if row.document == document) == POINTS[document]


@pytest.mark.parametrize("document", WHOLE_SECTIONS)
def test_no_section_is_left_out(document: str) -> None:
    sections = POINTS[document].keys()

    def is_covered(whole: str) -> bool:
        return any(section == whole or section.startswith(f"{whole}.") for section in sections)

    assert [whole for whole in sorted(WHOLE_SECTIONS[document]) if not is_covered(whole)] == []


def test_there_are_no_other_documents() -> None:
    assert list(dict.fromkeys(row.document for row in ROWS)) == list(POINTS)


def test_no_cell_is_empty_and_each_row_says_how_it_stands() -> None:
    for row in ROWS:
        assert all((row.section, row.asked, row.holds, row.tests)), row
        assert row.state in STATES, row
        assert len(row.holds) > len("**Kept.**") or row.state == "Kept", row


def test_each_test_that_is_named_is_there() -> None:
    there = nodes()

    for row in ROWS:
        if row.state == "Does not apply":
            assert row.tests == NO_TEST, row
            continue
        named = re.findall(r"`([^`]+)`", row.tests)
        assert re.sub(r"`[^`]+`| ", "", row.tests) == "", row
        assert named, row
        assert [name for name in named if name not in there] == [], row
