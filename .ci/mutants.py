"""Remove each call that ends something, or asks whether it has ended, and see that a test notices.

    python .ci/mutants.py [part of a path or of a call ...]

A call that asks is taken to have been answered yes, one that ends does nothing. Each mutant is tried in a
copy of the repository, with the table of tests/ended/ and what else is about that. Exits with 1 where one
survives.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: What is asked at doors, with what stands for yes.
ASKS = {
    "applications_are_usable": "True",
    "has_standing": "True",
    "is_as_authenticated": "True",
    "is_backed": "True",
    "token_has_standing": "True",
}

#: What ends something, redeems something, or looks under a lock whether something has ended.
ENDS = {
    "_check_presented",
    "_end_replayed",
    "_end_reused",
    "_note_redeemed",
    "_redeem",
    "add_to_revocation_feed",
    "ask_when_validated",
    "check_user",
    "deny_device_codes",
    "end",
    "end_codes",
    "expire_access_tokens",
    "revoke_access_token",
    "revoke_binding",
    "revoke_family",
    "revoke_refresh_token",
    "revoke_refresh_tokens",
    "revoke_token",
    "revoke_tokens_of_clients",
    "revoke_unbound_tokens",
    "sign_out",
    "sign_out_everywhere",
    "sign_out_user",
}

#: The tests that are run, one group after the other until one fails.
TESTS = [
    ["-m", "not slow", "tests/ended/test_table.py"],
    [
        "tests/authorization_server/issuing/test_in_flight.py",
        "tests/authorization_server/exchange/test_revoked_meanwhile.py",
        "tests/authorization_server/revocation",
        "tests/contrib/test_devices_api.py",
        "tests/devices",
    ],
    ["-m", "slow", "tests/ended"],
]

#: Calls that may be missing, by module and enclosing function, with the reason.
SPARE: dict[tuple[str, str, str], str] = {}


@dataclass(frozen=True)
class Mutant:
    """A call that is taken out of a module."""

    path: Path
    function: str
    call: str
    line: int
    text: str
    start: int
    end: int
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}() without {self.call}()"

    def apply(self, copy: Path) -> None:
        source = self.text.encode()
        (copy / self.path).write_bytes(source[: self.start] + self.instead.encode() + source[self.end :])


def find_mutants() -> Iterator[Mutant]:
    for path in sorted((ROOT / "oauth_binding").rglob("*.py")):
        text = path.read_text()
        offsets = [0]
        for line in text.encode().splitlines(keepends=True):
            offsets.append(offsets[-1] + len(line))
        for function, node in calls(ast.parse(text), ""):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ASKS or name in ENDS:
                yield Mutant(
                    path.relative_to(ROOT),
                    function,
                    name,
                    node.lineno,
                    text,
                    offsets[node.lineno - 1] + node.col_offset,
                    offsets[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0),
                    # What ends something may return how much it was.
                    ASKS.get(name, "0"),
                )


def calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call):
            yield function, child
        yield from calls(child, inner)


def is_killed(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        mutant.apply(copy)
        return any(has_failures(copy, tests) for tests in TESTS)


def has_failures(copy: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", *tests]
    output = subprocess.run(command, cwd=copy, capture_output=True, text=True).stdout
    # How it ends says that a test failed, and not that none could be run.
    return " failed" in output.splitlines()[-1]


def main() -> int:
    found = [mutant for mutant in find_mutants() if all(word in str(mutant) for word in sys.argv[1:])]
    survivors = 0
    for mutant in found:
        reason = SPARE.get((str(mutant.path), mutant.function, mutant.call))
        if reason is not None:
            print(f"spare    {mutant}: {reason}", flush=True)
            continue
        began = time.monotonic()
        killed = is_killed(mutant)
        survivors += not killed
        print(
            f"{'killed  ' if killed else 'SURVIVED'} {mutant} ({time.monotonic() - began:.0f} s)", flush=True
        )
    print(f"{len(found)} calls, of which {survivors} could be missing unnoticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
