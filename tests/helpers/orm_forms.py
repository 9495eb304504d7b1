"""The ORM form of a function whose SQL is written once, as its docstring shows it, and what to compare."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from django.db import connections

from oauth_binding.storage import ending, refreshed, tokens

NAMESPACE = {**vars(tokens), **vars(ending), "Left": refreshed.Left, "connections": connections}


def orm_form(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the form of a function that its docstring shows."""
    _text, _colons, rest = inspect.cleandoc(function.__doc__ or "").partition("::\n\n")
    block = [line for line in rest.split("\n\n:param")[0].splitlines() if line.strip()]
    body = textwrap.dedent("\n".join(block)).splitlines()
    body[-1] = f"return {body[-1]}"
    parameters = ", ".join(inspect.signature(function).parameters)
    namespace = dict(NAMESPACE)
    exec(f"def form({parameters}):\n" + textwrap.indent("\n".join(body), "    "), namespace)
    form: Callable[..., Any] = namespace["form"]
    return form


class Undone(Exception):
    pass


def rows_of(model: Any) -> list[dict[str, Any]]:
    return [
        {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
        for row in model.objects.order_by("pk")
    ]
