"""Checks of the setting OAUTH_BINDING."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils.module_loading import import_string

from oauth_binding.authorization_server.exchange import foreign_tokens as issuers
from oauth_binding.binding.binder import TokenBinder
from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core.jose.algorithms import SIGNING_ALGORITHMS
from oauth_binding.core.settings import DEFAULTS, binding_settings

_SETTINGS_HINT = f"The settings are: {', '.join(sorted(DEFAULTS))}."


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005, E006, E013, E014 and E016: ``OAUTH_BINDING`` has known keys, and their values are right."""
    user_settings: Any = binding_settings.user_settings
    if not isinstance(user_settings, dict):
        return [Error("OAUTH_BINDING is not a dict.", hint=_SETTINGS_HINT, id="oauth_binding.E005")]
    messages: list[CheckMessage] = [
        Error(f"OAUTH_BINDING[{key!r}] is not a setting.", hint=_SETTINGS_HINT, id="oauth_binding.E005")
        for key in sorted(user_settings.keys() - DEFAULTS.keys(), key=str)
    ]
    messages += [
        Error(
            f"OAUTH_BINDING['TOKEN_EXCHANGE_ISSUERS'] {problem}.",
            hint="Give a dict of issuers, each a dict with AUDIENCE, and with JWKS_URL or KEYS.",
            id="oauth_binding.E013",
        )
        for problem in issuers.problems(user_settings.get("TOKEN_EXCHANGE_ISSUERS", {}))
    ]
    header = user_settings.get("BINDING_HEADER", DEFAULTS["BINDING_HEADER"])
    if not (isinstance(header, str) and re.fullmatch(r"[A-Za-z0-9-]+", header)):
        messages.append(
            Error(
                f"OAUTH_BINDING['BINDING_HEADER'] is {header!r}, which is no header.",
                hint="Give a name of letters, digits and dashes, such as 'Token-Binding-Id'.",
                id="oauth_binding.E014",
            )
        )
    messages += [
        Error(f"OAUTH_BINDING[{key!r}] {problem}.", hint=hint, id="oauth_binding.E016")
        for key, problem, hint in _signing_problems(user_settings)
    ]
    return messages + [
        Error(
            f"OAUTH_BINDING['BINDERS'] {problem}.",
            hint="Give a list of the dotted paths of subclasses of oauth_binding.binding.binder.TokenBinder.",
            id="oauth_binding.E006",
        )
        for problem in _binder_problems(user_settings.get("BINDERS", DEFAULTS["BINDERS"]))
    ]


def _signing_problems(user_settings: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    path = user_settings.get("SIGNING_KEYS")
    if path and not (isinstance(path, str | os.PathLike) and Path(path).is_absolute()):
        hint = "Give the path from the root on, such as BASE_DIR / 'signing-keys.json'."
        yield "SIGNING_KEYS", "is not an absolute path", hint
    algorithm = user_settings.get("SIGNING_ALGORITHM", DEFAULTS["SIGNING_ALGORITHM"])
    if algorithm not in SIGNING_ALGORITHMS:
        yield "SIGNING_ALGORITHM", f"is {algorithm!r}", f"Give one of {', '.join(SIGNING_ALGORITHMS)}."


def _binder_problems(paths: Any) -> Iterator[str]:
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        yield "is not a list of dotted paths"
        return
    seen: set[str] = set()
    for path in paths:
        problem = _binder_problem(path, seen)
        if problem:
            yield f"has {path!r}, which {problem}"


def _binder_problem(path: str, seen: set[str]) -> str | None:
    try:
        binder = import_string(path)
    except ImportError as error:
        return f"can't be imported ({error})"
    if not (inspect.isclass(binder) and issubclass(binder, TokenBinder)):
        return "is not a TokenBinder"
    binding_type = getattr(binder, "type", None)
    if not (isinstance(binding_type, str) and 1 <= len(binding_type) <= 64):
        return "has no type of 1 to 64 characters"
    if not getattr(binder, "label", None):
        return "has no label"
    if binding_type == NO_BINDING or binding_type in seen:
        return f"has the type {binding_type!r}, which is taken"
    seen.add(binding_type)
    return None
