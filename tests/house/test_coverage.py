"""What the coverage of the tests leaves out says why."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest

import oauth_binding

ROOT = Path(oauth_binding.__file__).parent

#: A line or a branch that no test runs, and why.
WITH_REASON = re.compile(r"# pragma: no (cover|branch) - \w+( \S+){2,}")


def left_out(path: Path) -> list[str]:
    """Return the comments that coverage reads: only a comment of its own is one, not a text."""
    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    return [
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT and re.search(r"pragma|no\s*(cover|branch)", token.string, re.I)
    ]


def test_each_says_why() -> None:
    comments = [(str(path), comment) for path in ROOT.rglob("*.py") for comment in left_out(path)]

    assert [each for each in comments if not WITH_REASON.fullmatch(each[1])] == []


@pytest.mark.parametrize("comment", ["# pragma: no cover", "# PRAGMA NO COVER", "#pragma:no branch - old"])
def test_one_without_a_reason_is_found(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(f'print("# pragma: no cover")  {comment}\n')

    (found,) = left_out(path)

    assert not WITH_REASON.fullmatch(found)
