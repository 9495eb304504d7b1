"""Which database a model is read from and written to: the one place that asks the site's routers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import router

_is_deciding: Final[ContextVar[bool]] = ContextVar("oauth_binding_is_deciding", default=False)


def read_alias(model: Any) -> str:
    """Return the alias of the database that a model may be read from: a replica, if the site has one."""
    return router.db_for_read(model)


def write_alias(model: Any) -> str:
    """Return the alias of the database that a model is written to."""
    return router.db_for_write(model)


def written(model: Any) -> Any:
    """Return a queryset of a model's rows where they are written.

    Whatever decides something reads from there: a replica may still have what ended a moment ago, and may not
    yet have what was just issued.
    """
    return model.objects.using(write_alias(model))


@contextmanager
def deciding() -> Iterator[None]:
    """Have everything read from where it is written, by whatever code: what is read here decides.

    It can also decorate a function.
    """
    token = _is_deciding.set(True)
    try:
        yield
    finally:
        _is_deciding.reset(token)


class DecidingReadsRouter:
    """A database router that precedes those of the site, and has an opinion only within ``deciding``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return router.db_for_write(model, **hints) if _is_deciding.get() else None


def put_before_routers() -> None:
    """Put the router of deciding reads before those of the site; if it has none, none is needed."""
    if router.routers and not isinstance(router.routers[0], DecidingReadsRouter):
        router.routers.insert(0, DecidingReadsRouter())
