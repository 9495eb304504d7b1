"""The binders of a site: what ``BINDERS`` names by dotted paths."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.module_loading import import_string

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.binding.semantics import NO_BINDING


@functools.cache
def load_binders(paths: tuple[str, ...]) -> Mapping[str, TokenBinder]:
    """Return the binders at some dotted paths, by their ``type``.

    :raises ImportError: there is none at a path.
    """
    binders = [import_string(path)() for path in paths]
    return {binder.type: binder for binder in binders}


def problems(paths: Any) -> Iterator[str]:
    """Yield what is wrong with a value of ``BINDERS``.

    :param paths: the setting as the site wrote it.
    """
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        yield "is not a list of dotted paths"
        return
    seen: set[str] = set()
    for path in paths:
        problem = _problem_of(path, seen)
        if problem:
            yield f"has {path!r}, which {problem}"


def _problem_of(path: str, seen: set[str]) -> str | None:
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
