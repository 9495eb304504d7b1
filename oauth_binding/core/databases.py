"""Which database a model is read from and written to: the one place that asks the site's routers."""

from __future__ import annotations

from typing import Any

from django.db import router


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
