"""The worked examples of docs/sizing.md follow from the costs on the same page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "sizing.md").read_text()


def table(title: str) -> dict[str, list[str]]:
    """Return the rows of the table whose head begins with the title, by their first cell."""
    (lines,) = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines())
    return {name: cells for name, *cells in rows}


REQUESTS = table("request")
BYTES = {name: sum(map(int, cells)) for name, cells in table("table").items()}
EXAMPLES = table("at the busiest minute")


def milliseconds(request: str, column: int) -> float:
    return float(REQUESTS[request][column])


@pytest.mark.parametrize(("column", "users"), [(0, 1e6), (1, 1e7), (2, 1e8)])
def test_a_worked_example(column: int, users: float) -> None:
    devices = 2 * users
    day = 24 * 60 * 60
    logins, refreshes, calls = (4 * devices * times / day for times in (1 / 30, 8, 200))
    device = sum(BYTES[name] for name in ("binding", "access token", "refresh token"))
    expected = {
        "devices": f"{devices:,.0f}",
        "disk for devices, GB": f"{devices * device / 1e9:,.0f}",
        "logins a second": f"{logins:,.0f}",
        "refreshes a second": f"{refreshes:,.0f}",
        "API calls a second": f"{calls:,.0f}",
        "cores for passwords": f"{logins * 0.4:,.0f}",
        "application cores for refreshes": f"{refreshes * milliseconds('refresh', 1) / 1000:,.0f}",
        "database cores for refreshes": f"{refreshes * milliseconds('refresh', 2) / 1000:,.0f}",
        "database cores for API calls with opaque tokens": (
            f"{calls * milliseconds('API call, same database', 2) / 1000:,.0f}"
        ),
        "database cores for API calls with JWTs elsewhere": (
            f"{calls * milliseconds('API call, JWT elsewhere', 2) / 1000:,.0f}"
        ),
        "tokens that the feed names in an hour, millions": f"{devices * 8 / 24 / 1e6:.1f}",
    }

    assert {name: cells[column] for name, cells in EXAMPLES.items()} == expected
