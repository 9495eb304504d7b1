"""The seam to django-oauth-toolkit and oauthlib: their private parts are named in one room, and pinned."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import oauth2_provider
import oauthlib
import pytest
from oauth2_provider import models
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views import OAuthServerMetadataView

import oauth_binding
from oauth_binding.core.toolkit_paths import PLACES, OAuthLibCore

ROOT: Final = Path(oauth_binding.__file__).parent

#: The only room that may name private parts of django-oauth-toolkit and oauthlib.
SEAM: Final = ROOT / "authorization_server" / "toolkit"

#: Django's, which django-oauth-toolkit sets, too.
DJANGO: Final = {"_cached_user", "_get_scheme"}

#: By the private names that the seam uses: where each is defined.
OWNERS: Final[dict[str, list[Any]]] = {
    "_check_and_set_request_resource": [OAuth2Validator._check_and_set_request_resource],
    "_check_secret": [OAuth2Validator._check_secret],
    "_create_access_token": [OAuth2Validator._create_access_token],
    "_create_refresh_token": [OAuth2Validator._create_refresh_token],
    "_extract_params": [OAuthLibCore._extract_params],
    "_get_client_by_audience": [OAuth2Validator._get_client_by_audience],
    "_get_endpoint_url": [OAuthServerMetadataView._get_endpoint_url],
    "_get_escaped_full_path": [OAuthLibCore._get_escaped_full_path],
    "_get_key_for_token": [OAuth2Validator._get_key_for_token],
    "_load_access_token": [OAuth2Validator._load_access_token],
    "_load_application": [OAuth2Validator._load_application],
    "_load_id_token": [OAuth2Validator._load_id_token],
    "_raw_token": [models.set_token_value, models.TokenChecksumField.pre_save],
    "_save_bearer_token": [OAuth2Validator._save_bearer_token],
    "_save_id_token": [OAuth2Validator._save_id_token],
    "_set_token_value": [OAuth2Validator._set_token_value],
    "_validate_resource_uris": [OAuth2Validator._validate_resource_uris],
}

#: What toolkit/usual_refresh.py does in its place, though it is public.
DONE_INSTEAD: Final[list[Any]] = [
    OAuth2Validator.validate_refresh_token,
    models.AbstractRefreshToken.revoke,
    models.AbstractAccessToken.revoke,
]

#: By version of django-oauth-toolkit: the parameters of each of those and a digest of its source, as it was
#: when the seam was last held against it.
PINNED: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "3.4.1": {
        "OAuth2Validator._check_and_set_request_resource": ("self, request", "906ccc57ab8941fe"),
        "OAuth2Validator._check_secret": ("self, provided_secret, stored_secret", "64faaf8a77345019"),
        "OAuth2Validator._create_access_token": (
            "self, expires, request, token, source_refresh_token",
            "d78bdb8bcd81d41b",
        ),
        "OAuth2Validator._create_refresh_token": (
            "self, request, refresh_token_code, access_token, previous_refresh_token",
            "e2911d09adcff86e",
        ),
        "OAuthLibCore._extract_params": ("self, request", "431b3f970b4efc37"),
        "OAuth2Validator._get_client_by_audience": ("self, audience", "3b6f6be0c6ba2dce"),
        "ServerMetadataViewMixin._get_endpoint_url": (
            "self, request, view_name, required",
            "1d8ef0994769aca5",
        ),
        "OAuthLibCore._get_escaped_full_path": ("self, request", "f3498b018130a0c9"),
        "OAuth2Validator._get_key_for_token": ("self, token", "6cb571366ef88e64"),
        "OAuth2Validator._load_access_token": ("self, token", "6d1ad95039b4c3d5"),
        "OAuth2Validator._load_application": ("self, client_id, request", "089de8275d15ceae"),
        "OAuth2Validator._load_id_token": ("self, token", "14cb8734a16a540f"),
        "set_token_value": ("token_instance, raw_token", "98fc9efd4e717c52"),
        "TokenChecksumField.pre_save": ("self, model_instance, add", "81bd856269985305"),
        "OAuth2Validator._save_bearer_token": ("self, token, request, args, kwargs", "3da56aeab009c1be"),
        "OAuth2Validator._save_id_token": (
            "self, jti, request, expires, args, kwargs",
            "8bd7267bec57825e",
        ),
        "OAuth2Validator._set_token_value": ("self, token_instance, raw_token", "a71b4eb1fd487b7b"),
        "OAuth2Validator._validate_resource_uris": ("self, request, resources", "ed3649f306abf866"),
        "OAuth2Validator.validate_refresh_token": (
            "self, refresh_token, client, request, args, kwargs",
            "4996c2a32eb6d50d",
        ),
        "AbstractRefreshToken.revoke": ("self", "edd4aa455b8dae22"),
        "AbstractAccessToken.revoke": ("self", "5bcab91f8a787b88"),
    },
}


def definitions(package: ModuleType) -> Iterator[str]:
    """Yield the private names that a package defines: functions, classes, module variables and attributes."""
    for path in Path(str(package.__file__)).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        scopes: list[ast.Module | ast.ClassDef] = [tree]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr
        for scope in scopes:
            for statement in scope.body:
                targets = getattr(statement, "targets", [getattr(statement, "target", None)])
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def private_names() -> set[str]:
    found = {name for package in (oauth2_provider, oauthlib) for name in definitions(package)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")} - DJANGO - {"_"}


def names_used(path: Path) -> Iterator[tuple[str, int]]:
    """Yield what a module names, also in strings, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias):
            yield node.name, 0
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((name, node.lineno) for name in node.value.split("."))


def fingerprint(part: Any) -> tuple[str, str]:
    """Return the parameters of a function, and a digest of its source."""
    source = textwrap.dedent(inspect.getsource(part))
    parameters = ", ".join(inspect.signature(part).parameters)
    return parameters, hashlib.sha256(source.encode()).hexdigest()[:16]


def fingerprints() -> dict[str, tuple[str, str]]:
    parts = [part for parts in OWNERS.values() for part in parts] + DONE_INSTEAD
    return {part.__qualname__: fingerprint(part) for part in parts}


def test_private_names_stand_at_the_seam_alone() -> None:
    private = private_names()

    found = [
        f"{path.relative_to(ROOT)}:{line} names {name}"
        for path in sorted(ROOT.rglob("*.py"))
        if not path.is_relative_to(SEAM)
        for name, line in names_used(path)
        if name in private
    ]

    assert found == [], "Give the seam a public name for it, or, where it is a name of ours, another name."


def test_each_private_name_at_the_seam_has_an_owner() -> None:
    private = private_names()

    used = {name for path in SEAM.rglob("*.py") for name, _line in names_used(path) if name in private}

    assert used == OWNERS.keys()


def test_private_parts_are_as_they_were_when_the_seam_was_written() -> None:
    version = oauth2_provider.__version__
    assert version in PINNED, (
        f"Hold authorization_server/toolkit/ against django-oauth-toolkit {version}: read again what OWNERS "
        f"names, and then add to PINNED:\n{version!r}: {fingerprints()!r}"
    )

    changed = [name for name, pinned in PINNED[version].items() if fingerprints().get(name) != pinned]

    assert changed == [], (
        f"django-oauth-toolkit {version} differs from what the seam was written for. Read these again, and "
        f"what overrides or calls them in authorization_server/toolkit/: {changed}"
    )
    assert PINNED[version].keys() == fingerprints().keys()


@pytest.mark.parametrize("name", PLACES)
def test_what_moves_in_the_next_release_is_found(name: str) -> None:
    if "rest_framework" in PLACES[name][0]:
        pytest.importorskip("rest_framework")
    paths = import_module("oauth_binding.core.toolkit_paths")

    assert getattr(paths, name) is not None
