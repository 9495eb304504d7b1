"""What the permissions of a view ask of an access token, even if ``&``, ``|`` and ``~`` combine them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, product
from typing import Any

from rest_framework.permissions import AND, OR
from rest_framework.request import Request

from oauth_binding.core.toolkit_paths import (
    IsAuthenticatedOrTokenHasScope,
    TokenHasScope,
    TokenMatchesOASRequirements,
)


def alternative_scopes(request: Request, view: Any) -> list[list[str]]:
    """Return the sets of scopes each of which is enough for the permissions of a view.

    An empty set stands for permissions that ask for no scope, whether of a token or of any request.
    """
    found = _all_of([_alternatives(permission, request, view) for permission in view.get_permissions()])
    return [scopes for number, scopes in enumerate(found) if scopes not in found[:number]]


def required_scopes(request: Request, view: Any) -> list[str]:
    """Return the scopes that a request without a token is told to ask for: the first set that is one."""
    return next(filter(None, alternative_scopes(request, view)), [])


def missing_scopes(request: Request, view: Any) -> list[str]:
    """Return the scopes for lack of which the token of a request was refused; or none."""
    return next(
        (
            scopes
            for permission in view.get_permissions()
            for scopes in _missing(permission, request, view)
            if scopes
        ),
        [],
    )


def takes_proofs_alone(permissions: Iterable[Any]) -> bool:
    """Return whether some permissions of a view refuse bearer tokens (RFC 9449)."""
    return any(
        getattr(each, "takes_proofs_alone", False)
        for permission in permissions
        for each in combined(permission)
    )


def combined(permission: Any) -> Iterator[Any]:
    """Yield the permissions that all have to agree where one is combined by ``&``; otherwise itself."""
    if isinstance(permission, AND):
        for operand in _operands(permission):
            yield from combined(operand)
    else:
        yield permission


def _operands(permission: Any) -> tuple[Any, Any]:
    return permission.op1, permission.op2


def _alternatives(permission: Any, request: Request, view: Any) -> list[list[str]]:
    if isinstance(permission, AND | OR):
        of_operands = [_alternatives(operand, request, view) for operand in _operands(permission)]
        return _all_of(of_operands) if isinstance(permission, AND) else [*chain(*of_operands)]
    if isinstance(permission, TokenHasScope):
        return [list(permission.get_scopes(request, view))]
    if isinstance(permission, IsAuthenticatedOrTokenHasScope):
        return [list(TokenHasScope().get_scopes(request, view))]
    if isinstance(permission, TokenMatchesOASRequirements):
        of_methods = permission.get_required_alternate_scopes(request, view)
        return [list(scopes) for scopes in of_methods.get(request.method, [])]
    return [[]]


def _all_of(alternatives: list[list[list[str]]]) -> list[list[str]]:
    """Return all unions of one set of scopes from each, without repetitions."""
    return [
        list(dict.fromkeys(scope for scopes in chosen for scope in scopes))
        for chosen in product(*alternatives)
    ]


def _missing(permission: Any, request: Request, view: Any) -> Iterator[list[str]]:
    """Yield the sets of scopes that a permission asks for and the token of a request does not have."""
    token: Any = request.auth
    for each in combined(permission):
        if isinstance(each, OR) and each.has_permission(request, view):
            continue  # the other operand was enough
        for scopes in _alternatives(each, request, view):
            if not token.allow_scopes(scopes):
                yield scopes
