"""The direction of imports: a module knows only what is below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oauth_binding

ROOT = Path(oauth_binding.__file__).parent

#: From the bottom up. A module imports modules of lower layers, and those of its own entry.
LAYERS = [
    {
        *("__init__", "semantics", "errors", "hashers", "operations", "signals"),
        *("setting_values", "strict_json"),
    },
    {"conf", "values", "bearer", "remote", "jws", "prepared"},
    {"key_file"},
    {"keys"},
    {"models", "access_tokens", "jwk_sets", "protection"},
    {"issuers", "resource_server"},
    {"binders", "migrations", "revocation", "slots"},
    {"issuance", "explanations", "devices"},
    {"exchanges"},
    {"tokens", "grants", "validators", "forms", "large_tables"},
    {"server"},
    {"views", "registration", "device_views", "revocation_feed", "database_tokens"},
    {"urls", "admin", "toolkit_admin", "checks", "management", "contrib"},
    {"apps"},
]

LAYER_OF = {entry: number for number, entries in enumerate(LAYERS) for entry in entries}


def modules() -> Iterator[tuple[str, list[str]]]:
    """Yield the modules with what they import at runtime, by dotted names."""
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts), list(imports(ast.parse(path.read_text())))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imports(node)


def entry_of(name: str) -> str:
    """Return the entry of LAYERS that a dotted name of this app belongs to."""
    _app, _dot, rest = name.partition(".")
    entry = rest.split(".")[0]
    return entry if (ROOT / entry).is_dir() or (ROOT / f"{entry}.py").is_file() else "__init__"


def test_every_module_has_a_layer() -> None:
    assert {entry_of(module) for module, _imports in modules()} <= LAYER_OF.keys()


def test_a_module_imports_only_from_lower_layers() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in names
        if name.split(".")[0] == "oauth_binding"
        and entry_of(module) != entry_of(name)
        and LAYER_OF[entry_of(module)] <= LAYER_OF[entry_of(name)]
    ]

    assert upward == []


def test_only_its_own_package_imports_rest_framework() -> None:
    importing = [
        f"{module} imports {name}"
        for module, names in modules()
        for name in names
        if "rest_framework" in name.split(".")
        and not module.startswith("oauth_binding.contrib.rest_framework.")
    ]

    assert importing == []


def test_an_api_elsewhere_needs_nothing_of_the_server() -> None:
    """What it needs of django-oauth-toolkit, the header of a challenge, comes through ``bearer``."""
    entries = {"setting_values", "strict_json", "remote", "jws", "jwk_sets", "resource_server"}
    importing = [
        f"{module} imports {name}"
        for module, names in modules()
        if entry_of(module) in entries
        for name in names
        if name.split(".")[0] == "oauth2_provider"
        or (name.split(".")[0] == "oauth_binding" and entry_of(name) not in {*entries, "bearer"})
    ]

    assert importing == []


def test_the_semantics_need_no_django() -> None:
    program = "import sys, oauth_binding.semantics; assert 'django' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], check=True)
