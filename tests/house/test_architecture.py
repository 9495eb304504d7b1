"""The house: which room may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oauth_binding

ROOT = Path(oauth_binding.__file__).parent

#: From the ground up. A room imports what stands above it in this list, and its own modules.
ROOMS = [
    "binding",
    "core",
    "models",
    "storage",
    "resource_server",
    "authorization_server.signing",
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


def test_every_module_stands_in_a_room() -> None:
    assert [module for module, _names in modules() if module and not room_of(module)] == []


def test_imports_go_one_way() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in own(names)
        if ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))
    ]

    assert upward == []


def test_no_two_modules_import_each_other() -> None:
    paths = {module for module, _names in modules()}
    arrows = {
        module: {
            target
            for name in own(names)
            for target in [name if name in paths else name.rpartition(".")[0]]
            # A package's face hands on what its modules have.
            if target in paths and target != module and not module.startswith(f"{target}.")
        }
        for module, names in modules()
    }
    faces = {module for module in arrows if (ROOT / module.replace(".", "/")).is_dir()}

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for target in arrows[pending.pop()] - seen:
                seen.add(target)
                pending.append(target)
        return seen

    assert [module for module in arrows if module not in faces and module in reachable(module)] == []


def test_only_its_own_package_imports_rest_framework() -> None:
    importing = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in names
        if "rest_framework" in name.split(".") and not module.startswith("contrib.rest_framework")
    ]

    assert importing == []


def test_an_api_elsewhere_needs_nothing_of_the_server() -> None:
    """What it needs of django-oauth-toolkit, the header of a challenge, does not load its models."""
    program = """
import sys
import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["oauth_binding.resource_server"], OAUTH_RESOURCE_SERVER={})
django.setup()
import oauth_binding.resource_server.elsewhere

loaded = [name for name in sys.modules if name.startswith("oauth2_provider.models")]
loaded += [name for name in sys.modules if name.startswith(("oauth_binding.models", "oauth_binding.storage"))]
loaded += [name for name in sys.modules if name.startswith("oauth_binding.authorization_server")]
assert not loaded, loaded
"""

    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_semantics_need_no_django() -> None:
    program = """
import runpy, sys
runpy.run_path(sys.argv[1])
assert 'django' not in sys.modules
"""

    subprocess.run([sys.executable, "-c", program, str(ROOT / "binding" / "semantics.py")], check=True)
