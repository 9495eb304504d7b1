"""The public API: what docs/public-api.md lists is what the packages hand out."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
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
def test_a_name_that_it_does_not_have(package: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        load(package).no_such_name  # type: ignore[attr-defined]  # noqa: B018


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


def _is_of_this_app(found: object) -> bool:
    return str(getattr(found, "__module__", "")).startswith("oauth_binding")


def _callables(package: str) -> Iterator[tuple[str, Callable[..., object], str]]:
    """The public functions of a package, its constructors and methods, each with the text that describes it.

    Left out is what is described elsewhere: what overrides a method of another class, the fields of a
    dataclass, and methods that get a request first. These are views and hooks of a framework, which says what
    they get, and what a view raises is its answer.
    """
    for name in sorted(LISTED[package]):
        found = getattr(load(package), name)
        if inspect.isfunction(found) and _is_of_this_app(found):
            yield name, found, found.__doc__ or ""
        elif inspect.isclass(found) and _is_of_this_app(found):
            for attribute, value in vars(found).items():
                method = inspect.unwrap(getattr(value, "__func__", value))
                if not inspect.isfunction(method) or not _is_of_this_app(method):
                    continue
                if attribute == "__init__":
                    if not is_dataclass(found):
                        yield f"{name}()", method, f"{found.__doc__}{method.__doc__}"
                elif not (
                    attribute.startswith("_")
                    or method.__doc__ is None
                    or any(attribute in vars(base) for base in found.__mro__[1:])
                    or [*inspect.signature(method).parameters][1:2] == ["request"]
                ):
                    yield f"{name}.{attribute}", method, method.__doc__


def _raised(function: Callable[..., object]) -> Iterator[type[BaseException]]:
    """The exceptions that a function raises by itself, by their names in its code."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            raised = function.__globals__.get(name.id) if isinstance(name, ast.Name) else None
            if isinstance(raised, type) and issubclass(raised, BaseException):
                yield raised


@pytest.mark.parametrize("package", LISTED)
def test_each_parameter_of_what_is_public_is_described(package: str) -> None:
    assert [
        f"{name}: {parameter}"
        for name, function, text in _callables(package)
        for parameter in inspect.signature(function).parameters
        if parameter not in {"self", "cls", "args", "kwargs", "initkwargs"}
        and f":param {parameter}:" not in text
    ] == []


@pytest.mark.parametrize("package", LISTED)
def test_each_error_that_what_is_public_raises_is_described(package: str) -> None:
    """By its own name, or by that of a class that it is derived from."""
    assert [
        f"{name}: {raised.__name__}"
        for name, function, text in _callables(package)
        for raised in _raised(function)
        if not any(f":raises {base.__name__}:" in text for base in raised.__mro__)
    ] == []


def test_what_is_held_to_that() -> None:
    """The two tests above look at something: functions, constructors and methods, and at errors."""
    found = [each for package in LISTED for each in _callables(package)]

    names = {name for name, _function, _text in found}
    assert {
        "sign_out_everywhere",
        "protected_resource",
        "BearerError()",
        "TokenPolicy.allows_audience",
    } <= names
    errors = {raised.__name__ for _name, function, _text in found for raised in _raised(function)}
    assert {"ValidationError", "ImproperlyConfigured", "MissingTokenError"} <= errors
