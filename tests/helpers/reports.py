"""What is reported of requests that a demand would have refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import TestCase

from oauth_binding.models import MISSED, TokenBinding
from oauth_binding.signals import demand_reported


@contextmanager
def reports() -> Iterator[list[dict[str, Any]]]:
    """Yield what receivers of the signal are sent; they are once the block is left, as after a commit."""
    heard: list[dict[str, Any]] = []

    def hear(**arguments: Any) -> None:
        heard.append(arguments)

    demand_reported.connect(hear)
    try:
        with TestCase.captureOnCommitCallbacks(execute=True):
            yield heard
    finally:
        demand_reported.disconnect(hear)


def noted(demand: str) -> list[str]:
    """Return the values of the bindings at which it is noted that a request fell short of a demand."""
    missed = TokenBinding.objects.filter(**{f"{MISSED[demand]}__isnull": False})
    return [*missed.order_by("pk").values_list("binding_value", flat=True)]
