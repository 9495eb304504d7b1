"""Errors that are mistakes of the app itself are not taken for what somebody else has sent."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import oauth_binding

ROOT = Path(oauth_binding.__file__).parent

#: Where a TypeError is caught: around one statement, which gives somebody else's code what may be no good.
CAUGHT = {
    # PyJWT and cryptography, given a key
    "authorization_server/exchange/foreign_tokens.py": "_public_key",
    "authorization_server/signing/key_file.py": "_parse_private_key",
    "authorization_server/signing/signing_key.py": "_parse",
    "core/jose/jwk_sets.py": "find_key",
    # a site's classes, named by settings
    "checks/client_ids.py": "check_generated_client_ids",
    "checks/client_secrets.py": "_generates_known",
    "models/binding.py": "binding_type_choices",
    # a site's primary key, given a text
    "models/subjects.py": "_as_user_key",
}


def functions_that_name(tree: ast.AST, name: str, within: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name) and node.id == name:
            yield within
        inside = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else within
        yield from functions_that_name(node, name, inside)


def test_a_type_error_is_caught_around_calls_of_others_alone() -> None:
    # A comparison of an aware datetime with a naive one raises it, for instance.
    found = {
        path.relative_to(ROOT).as_posix(): function
        for path in ROOT.rglob("*.py")
        for function in functions_that_name(ast.parse(path.read_text()), "TypeError")
    }

    assert found == CAUGHT


def test_nothing_else_is_done_where_one_is_caught() -> None:
    for place in CAUGHT:
        for node in ast.walk(ast.parse((ROOT / place).read_text())):
            if isinstance(node, ast.Try) and any(
                _catches(handler.type, "TypeError") for handler in node.handlers
            ):
                assert len(node.body) == 1, (place, node.lineno)


def test_who_catches_everything_hands_it_on() -> None:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and _catches(node.type, "Exception", "BaseException"):
                inside = list(ast.walk(node))
                names = {each.attr for each in inside if isinstance(each, ast.Attribute)}
                assert any(isinstance(each, ast.Raise) for each in inside) or "set_exception" in names, path


def _catches(caught: ast.expr | None, *names: str) -> bool:
    assert caught is not None, "name what is caught"
    return any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(caught))
