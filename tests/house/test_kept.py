"""What a process keeps from one request to the next: the table in docs/processes.md has all of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import oauth_binding

PACKAGE: Final = Path(oauth_binding.__file__).parent
PAGE: Final = PACKAGE.parent / "docs" / "processes.md"

#: What is called where a module is loaded, and makes nothing that changes while requests are answered.
MAKES_CONSTANTS: Final = {
    *("cast", "datetime", "datetime.timestamp", "frozenset", "MappingProxyType", "Path", "range"),
    *("re.compile", "timedelta", "TypeVar", "HttpHeaders.to_wsgi_name", "IPv6Network"),
    *("logging.getLogger", "Q", "_", "Signal", "AuditSignal", "Setting", "decorator_from_middleware"),
    *("json.JSONDecoder", "OpenApiParameter", "SimpleRouter", "template.Library"),
    *("DPoP", "BindingSettings", "ResourceServerSettings"),  # without an attribute; they read the settings
}

#: In the body of a class, what is made there is for all instances.
MAKES_STATE: Final = {
    "ContextVar",
    "Lock",
    "OrderedDict",
    "defaultdict",
    "deque",
    "dict",
    "list",
    "local",
    "set",
}

#: Methods that change what they are called on.
CHANGES: Final = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem"),
    *("popleft", "remove", "reverse", "setdefault", "sort", "update"),
}

#: What a process has one of, by the ends of names of classes: what is kept on it is kept for all requests.
ONE_EACH: Final = re.compile(
    r"(Admin|Authentication|Authenticator|Backend|Binder|Config|Core|Generator|Middleware|"
    r"Router|Server|Settings|Store|Validator)$"
)


def dotted(node: ast.AST) -> str:
    """Return what a name, an attribute, or what is called or subscripted is called."""
    if isinstance(node, ast.Call | ast.Subscript):
        return dotted(node.func if isinstance(node, ast.Call) else node.value)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".removeprefix(".")
    return node.id if isinstance(node, ast.Name) else ""


def remembers(decorator: ast.expr) -> bool:
    return dotted(decorator) in {"cache", "functools.cache", "lru_cache", "functools.lru_cache"}


def assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement gives to values."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id, statement.value


def kept_in(tree: ast.Module) -> Iterator[str]:
    """Yield the names of what a module keeps for the life of a process."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for function in functions:
        if any(map(remembers, function.decorator_list)):
            yield function.name
    for statement in tree.body:
        for name, value in assigned(statement):
            if isinstance(value, ast.Call) and dotted(value) not in MAKES_CONSTANTS:
                yield name
    changed_attributes = {
        changed.attr
        for node in ast.walk(tree)
        for changed in [owner_of_change(node)]
        if isinstance(changed, ast.Attribute)
    }
    for each in classes:
        for statement in each.body:
            for name, value in assigned(statement):
                is_state = isinstance(value, ast.Call) and dotted(value).split(".")[-1] in MAKES_STATE
                is_container = isinstance(value, ast.Dict | ast.List | ast.Set)
                if is_state or (is_container and name in changed_attributes):
                    yield name
        if ONE_EACH.search(each.name):
            yield from (f"{each.name}.{name}" for name in kept_on_instances(each))
    globals_ = {name for statement in tree.body for name, _value in assigned(statement)}
    for function in functions:
        yield from changed_by(function, globals_, {each.name for each in classes})


def owner_of_change(node: ast.AST) -> ast.expr | None:
    """Return what an expression changes from within: ``x`` in ``x.append(1)`` and in ``x[1] = 2``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        return node.func.value
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return node.value
    return None


def kept_on_instances(of: ast.ClassDef) -> Iterator[str]:
    """Yield what the methods of a class set on an instance, but for the one that makes it."""
    for method in of.body:
        if not isinstance(method, ast.FunctionDef) or method.name == "__init__":
            continue
        if any(dotted(each).endswith("cached_property") for each in method.decorator_list):
            yield method.name
        for node in ast.walk(method):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and dotted(node.value) == "self"
            ):
                yield node.attr


def changed_by(
    function: ast.FunctionDef | ast.AsyncFunctionDef, globals_: set[str], classes: set[str]
) -> Iterator[str]:
    """Yield what a function changes of the module and of its classes."""
    nodes = [*ast.walk(function)]
    local = {node.arg for node in nodes if isinstance(node, ast.arg)}
    local |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Global):
            yield from node.names
            continue
        changed = owner_of_change(node)
        if changed is None and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            owner = dotted(node.value)
            if owner in {"cls", "type"} or owner in classes - local:
                yield ast.unparse(node).removeprefix("cls.")
            elif owner in globals_ - local:
                yield owner
        elif changed is not None and dotted(changed) in globals_ - local:
            yield dotted(changed)


def all_kept() -> set[str]:
    return {
        f"{path.relative_to(PACKAGE).as_posix()}: {name}"
        for path in PACKAGE.rglob("*.py")
        if "migrations" not in path.parts
        for name in kept_in(ast.parse(path.read_text()))
    }


def all_documented() -> set[str]:
    """Return the names that the table has, each as the file and what is called so in it."""
    section = PAGE.read_text().split("## What a process keeps\n")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`([\w/]+\.py: \w+)`", row)}


def test_all_that_a_process_keeps_is_in_the_table() -> None:
    assert all_kept() == all_documented()


def test_what_is_kept_is_found() -> None:
    """Each way to keep something, by which the table would not be total otherwise."""
    code = """
ONE = {}
TWO: Final = OrderedDict()
THREE = Made()
CONSTANT = frozenset({1})
TABLE = {"never": "changed"}

@functools.lru_cache(maxsize=3)
def four(): ...

def change(argument):
    global five
    ONE["x"] = argument
    argument["x"] = CONSTANT
    TABLE.get("x")

class Six:
    shared = deque()
    filled = {}

    def begin(self):
        Six.current = self
        self.filled["x"] = 1
        self.own = 1

class SevenMiddleware:
    def __init__(self):
        self.begun = 1

    def process(self, request):
        self.last = request
        request.last = self
"""
    assert {*kept_in(ast.parse(code))} == {
        *("ONE", "TWO", "THREE", "four", "five", "shared", "filled", "Six.current", "SevenMiddleware.last")
    }
