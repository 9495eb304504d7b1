"""The rooms of the house, and what their modules import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import oauth_binding

ROOT = Path(oauth_binding.__file__).parent
REPOSITORY = ROOT.parent
TESTS = REPOSITORY / "tests"

#: From the ground up. A room imports what stands above it in this list, and its own modules.
ROOMS = [
    "binding",
    "core",
    "models",
    "storage",
    "proof",
    "sessions",
    "resource_server",
    "authorization_server.signing",
    "authorization_server.backchannel",
    "authorization_server.issuing",
    "authorization_server.revocation",
    "authorization_server.exchange",
    "authorization_server.toolkit",
    "authorization_server.endpoints",
    "authorization_server",
    "devices",
    "console",
    "checks",
    "contrib",
    "management",
    "migrations",
    "templatetags",
    # Django's doors.
    "signals",
    "admin",
    "urls",
    "apps",
]


def modules() -> Iterator[tuple[str, list[str]]]:
    """Yield the modules with what they import, also for types alone, by dotted names without the app's."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        yield module, list(imports(ast.parse(path.read_text())))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(names: list[str]) -> Iterator[str]:
    for name in names:
        if name.startswith("oauth_binding.") and room_of(name.removeprefix("oauth_binding.")):
            yield name.removeprefix("oauth_binding.")


def room_of(name: str) -> str:
    """Return the room of a dotted name; empty for what stands in the app's own ``__init__``."""
    return max((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), key=len, default="")
