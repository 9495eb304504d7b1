"""What the pages name of the suite."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]


def nodes() -> set[str]:
    """Return the names of all tests as pytest has them, without their parameters, from ``tests/`` on."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        file = path.relative_to(TESTS).as_posix()
        for node in ast.parse(path.read_text()).body:
            scope, members = (f"{node.name}::", node.body) if isinstance(node, ast.ClassDef) else ("", [node])
            found |= {
                f"{file}::{scope}{member.name}"
                for member in members
                if isinstance(member, ast.FunctionDef) and member.name.startswith("test_")
            }
    return found
