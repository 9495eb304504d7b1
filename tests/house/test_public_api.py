"""The public API: what docs/public-api.md lists is what the packages hand out."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

PAGE: Final = (DOCS / "public-api.md").read_text()

REFERENCE: Final = (DOCS / "reference.md").read_text()

#: The names of each package, by the table "Names to import".
LISTED: Final = {
    package: set(re.findall(r"`(\w+)`", names))
    for package, names in re.findall(r"^\| `(oauth_binding[\w.]*)` \| (`.*`) \|$", PAGE, re.MULTILINE)
}

#: Modules that hold more than what is public.
PARTLY: Final = {
    "oauth_binding",
    "oauth_binding.models",
    "oauth_binding.urls",
    "oauth_binding.resource_server.urls",
    "oauth_binding.devices.views",
    "oauth_binding.contrib.rest_framework.devices",
    "oauth_binding.contrib.rest_framework.schema",
}


def load(name: str) -> object:
    if "rest_framework" in name:
        pytest.importorskip("rest_framework")
    if name.endswith(".schema"):
        pytest.importorskip("drf_spectacular")
    return import_module(name)


@pytest.mark.parametrize("package", LISTED)
def test_the_names_of_a_package(package: str) -> None:
    module = load(package)

    assert [name for name in LISTED[package] if not hasattr(module, name)] == []
    if package not in PARTLY:
        assert set(vars(module)["__all__"]) == LISTED[package]


@pytest.mark.parametrize("package", LISTED)
def test_the_reference_has_each_name_that_is_of_this_app(package: str) -> None:
    """Some are django-oauth-toolkit's, and a version is a text without a docstring."""
    of_others = (
        {
            name
            for name in LISTED[package]
            if not vars(load(package))[name].__module__.startswith("oauth_binding")
        }
        if package == "oauth_binding.contrib.rest_framework"
        else set()
    )

    described = re.findall(rf"^::: {re.escape(package)}\.(\w+)$", REFERENCE, re.MULTILINE)

    assert set(described) == LISTED[package] - of_others - {"__version__"}
    assert len(described) == len(set(described))


def test_docstrings_have_no_roles() -> None:
    """The reference would show them as they stand: they are Sphinx's."""
    role = re.compile(r":(?:attr|class|const|data|exc|func|meth|mod|obj):`")

    paths = sorted((ROOT / "oauth_binding").rglob("*.py"))
    assert [str(path.relative_to(ROOT)) for path in paths if role.search(path.read_text())] == []


def test_every_face_is_listed() -> None:
    faces = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "oauth_binding").rglob("__init__.py")
        if "__all__" in path.read_text()
    }

    assert faces - {"oauth_binding.checks"} <= LISTED.keys()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`(oauth_binding(?:\.\w+)*\.[A-Z]\w+|[\w.]+\.exception_handler)`", PAGE)))
)
def test_a_dotted_path_for_settings(path: str) -> None:
    module, _dot, name = path.rpartition(".")

    assert hasattr(load(module), name)


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_what_pages_import_is_public(page: Path) -> None:
    """What a page tells sites to write is on the list."""
    imported = re.findall(r"^\s*from (oauth_binding[\w.]*) import ([\w, ]+)$", page.read_text(), re.MULTILINE)

    private = [
        f"from {module} import {name}"
        for module, names in imported
        for name in re.split(r",\s*", names)
        if name not in LISTED.get(module, set())
    ]
    assert private == []


def test_the_paths_of_the_house_are_there() -> None:
    page = (DOCS / "house.md").read_text()
    paths = re.findall(r"`((?:oauth_binding|tests)/[\w/]+(?:\.py)?)/?`", page)

    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
