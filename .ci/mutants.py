"""Remove each call that ends something, or asks whether it has ended, and see that a test notices.

    python .ci/mutants.py [part of a path or of a call ...]

A call that asks is taken to have been answered yes, one that ends does nothing. Each mutant is tried in a
copy of the repository, with the table of tests/ended/ and what else is about that. Exits with 1 where one
survives.
"""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
    "add_rows_to_revocation_feed",
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

TESTS = [
    "tests/ended",
    "tests/authorization_server/issuing/test_in_flight.py",
    "tests/authorization_server/exchange/test_foreign_tokens.py",
    "tests/authorization_server/exchange/test_revoked_meanwhile.py",
    "tests/authorization_server/revocation",
    "tests/contrib/test_devices_api.py",
    "tests/devices",
    "tests/storage/test_standing.py",
]

#: What notes in which tests the calls are made, each of which is wrapped in a copy of the repository.
PLUGIN = """
import builtins, collections, json, os

made, running = collections.defaultdict(set), [None]


def note(number, function):
    made[running[0]].add(number)
    return function


builtins.note_call = note


def pytest_runtest_setup(item):
    running[0] = item.nodeid


def pytest_runtest_logreport(report):
    if report.failed:
        made.pop(report.nodeid, None)  # it says nothing of a mutant


def pytest_sessionfinish(session):
    # What is made while Django is set up is part of all of them.
    notes = {test: sorted(numbers | made[None]) for test, numbers in made.items() if test}
    with open(f"{os.environ['NOTES']}/{os.getpid()}.json", "w") as file:
        json.dump(notes, file)
"""

#: Calls that may be missing, by module and enclosing function, with the reason.
SPARE: dict[tuple[str, str, str], str] = {
    ("oauth_binding/authorization_server/toolkit/validator.py", function, "has_standing"): (
        "check_user() asks again when the tokens are saved; here it is asked before anything is planned"
    )
    for function in ("validate_code", "validate_device_code")
}


@dataclass(frozen=True)
class Mutant:
    """A call that is taken out of a module."""

    path: Path
    function: str
    call: str
    line: int
    #: Where the name of what is called begins and ends, and where the call ends; in bytes.
    start: int
    name_end: int
    end: int
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}() without {self.call}()"


def find_mutants() -> Iterator[Mutant]:
    for path in sorted((ROOT / "oauth_binding").rglob("*.py")):
        offsets = [0]
        for line in path.read_bytes().splitlines(keepends=True):
            offsets.append(offsets[-1] + len(line))
        for function, node in calls(ast.parse(path.read_bytes()), ""):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ASKS or name in ENDS:
                yield Mutant(
                    path.relative_to(ROOT),
                    function,
                    name,
                    node.lineno,
                    offsets[node.lineno - 1] + node.col_offset,
                    offsets[(node.func.end_lineno or 0) - 1] + (node.func.end_col_offset or 0),
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


@contextmanager
def changed_copy(changes: Iterable[tuple[Path, int, int, str]]) -> Iterator[Path]:
    """Copy the repository, with parts of its modules replaced, and yield where it is."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for path, start, end, text in sorted(changes, key=lambda change: change[1], reverse=True):
            source = (copy / path).read_bytes()
            (copy / path).write_bytes(source[:start] + text.encode() + source[end:])
        yield copy


def run_tests(copy: Path, *arguments: str, **environment: str) -> str:
    """Run tests, and return the last line that was printed."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    output = subprocess.run(
        command, cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True
    ).stdout
    return output.splitlines()[-1]


def tests_by_mutant(mutants: list[Mutant]) -> dict[int, list[str]]:
    """Return in which tests each call is made."""
    changes = []
    for number, mutant in enumerate(mutants):
        changes += [
            (mutant.path, mutant.start, mutant.start, f"note_call({number}, "),
            (mutant.path, mutant.name_end, mutant.name_end, ")"),
        ]
    found: dict[int, list[str]] = defaultdict(list)
    with changed_copy(changes) as copy, tempfile.TemporaryDirectory() as notes:
        (Path(notes) / "note_calls.py").write_text(PLUGIN)
        paths = os.pathsep.join([notes, str(copy)])
        arguments = ("-p", "note_calls", "-m", "slow or not slow", *TESTS)
        print(run_tests(copy, *arguments, NOTES=notes, PYTHONPATH=paths), flush=True)
        for file in Path(notes).glob("*.json"):
            for test, numbers in json.loads(file.read_text()).items():
                for number in numbers:
                    found[number].append(test)
    for tests in found.values():
        # So that one comes soon that sees it, wherever those are.
        random.Random(0).shuffle(tests)
    return found


def is_killed(mutant: Mutant, tests: list[str]) -> bool:
    if not tests:
        return False
    with changed_copy([(mutant.path, mutant.start, mutant.end, mutant.instead)]) as copy:
        # How it ends says that a test failed, and not that none could be run.
        arguments = ("-x", "-n", "0", "-p", "no:randomly", "-m", "slow or not slow", *tests)
        return " failed" in run_tests(copy, *arguments)


def main() -> int:
    found = [mutant for mutant in find_mutants() if all(word in str(mutant) for word in sys.argv[1:])]
    tests = tests_by_mutant(found)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = [
            pool.submit(try_mutant, mutant, tests.get(number, [])) for number, mutant in enumerate(found)
        ]
    survivors = sum(not result.result() for result in results)
    print(f"{len(found)} calls, of which {survivors} could be missing unnoticed")
    return 1 if survivors else 0


def try_mutant(mutant: Mutant, tests: list[str]) -> bool:
    """Say what becomes of a mutant, and return whether that is right."""
    reason = SPARE.get((str(mutant.path), mutant.function, mutant.call))
    began = time.monotonic()
    killed = reason is None and is_killed(mutant, tests)
    result = "killed  " if killed else "SURVIVED" if reason is None else "spare   "
    print(f"{result} {mutant} ({reason or f'{time.monotonic() - began:.0f} s'})", flush=True)
    return killed or reason is not None


if __name__ == "__main__":
    sys.exit(main())
