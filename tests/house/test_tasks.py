"""The tasks of contributors name tests that are there: pytest passes over others in silence."""

from __future__ import annotations

import runpy

import pytest

from tests.house.nodes import nodes
from tests.house.rooms import REPOSITORY, TESTS

TASKS = runpy.run_path(str(REPOSITORY / "noxfile.py"))

CHOICES = [name for name, value in TASKS.items() if name.isupper() and isinstance(value, tuple)]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_of_tests(choice: str) -> None:
    there = nodes()

    assert TASKS[choice]
    assert [name for name in TASKS[choice] if not (TESTS / name).exists() and name not in there] == []
