"""Which database a model is read from and written to: the one place that asks the site's routers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import router

_is_deciding: Final[ContextVar[bool]] = ContextVar("oauth_binding_is_deciding", default=False)


def read_alias(model: Any) -> str:
    """Return the alias of the database that a model may be read from: a replica, where the site has one."""
    return router.db_for_read(model)


def write_alias(model: Any) -> str:
    """Return the alias of the database that a model is written to."""
    return router.db_for_write(model)


def written(model: Any) -> Any:
    """Return a queryset of a model's rows where they are written.

    What decides reads from there: a replica may still have what was ended a moment ago, and may not have yet
    what was just issued.
    """
    return model.objects.using(write_alias(model))


@contextmanager
def deciding() -> Iterator[None]:
    """Have everything read from where it is written, whoever reads it: what is read here decides.

    It can decorate a function, too.
    """
    token = _is_deciding.set(True)
    try:
        yield
    finally:
        _is_deciding.reset(token)


class DecidingReadsRouter:
    """A database router that goes before those of the site, and says something in ``deciding`` alone."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return router.db_for_write(model, **hints) if _is_deciding.get() else None


def put_before_routers() -> None:
    """Put the router of deciding reads before those of the site; where it has none, nothing has to be."""
    if router.routers and not isinstance(router.routers[0], DecidingReadsRouter):
        router.routers.insert(0, DecidingReadsRouter())
