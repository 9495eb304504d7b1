"""Where a site's claims of its users come from: what ``CLAIM_SOURCES`` names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

#: Claims that a site's own claims can't set, whether or not a token carries them.
REGISTERED_CLAIMS: Final = frozenset(
    {"iss", "exp", "nbf", "iat", "jti", "aud", "sub", "client_id", "scope"}
    | {"binding_type", "binding_ref", "cnf", "act"}
)

#: Claims that can't have a source: introspection says these itself (RFC 7662 section 2.2), and for
#: ``may_act``, token exchange asks only the JWT.
_TAKEN: Final = REGISTERED_CLAIMS | {"active", "username", "token_type", "may_act"}


def read(source: str, user: Any) -> Any:
    """Return what a source says about a user, as JSON values; None if there is nothing to say.

    :param source: the dotted path of a callable, or the name of an attribute of the user, which has no dot.
    :raises Exception: whatever the source raises; or there is no such source, or its value can't be JSON.
    """
    value = import_string(source)(user) if "." in source else getattr(user, source)
    # One value for both JWTs and introspection, whose encoders do not accept the same types.
    return json.loads(json.dumps(value, allow_nan=False))


def problems(sources: Any) -> Iterator[str]:
    """Yield what is wrong with a value of ``CLAIM_SOURCES``.

    :param sources: the setting as the site wrote it.
    """
    if not isinstance(sources, dict):
        yield "is not a dict"
        return
    for name, source in sources.items():
        if not (isinstance(name, str) and name.isprintable() and name and not set(name) & set(' "\\')):
            yield f"has {name!r}, which is not the name of a claim"
        elif name in _TAKEN:
            yield f"has {name!r}, which is a claim of the server's own"
        elif not isinstance(source, str):
            yield f"has a source of {name!r} that is not a string"
        elif problem := _problem_of(source):
            yield f"has {source!r} as the source of {name!r}, which {problem}"


def _problem_of(source: str) -> str | None:
    if "." in source:
        try:
            found = import_string(source)
        except ImportError as error:
            return f"can't be imported ({error})"
        return None if callable(found) else "can't be called"
    user_model = get_user_model()
    if not hasattr(user_model, source):
        # A class that has this method may have any attribute.
        return None if hasattr(user_model, "__getattr__") else "is not an attribute of the user model"
    return "is a method of the user model" if callable(getattr(user_model, source)) else None
