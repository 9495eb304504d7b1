"""The site that all servers begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.postgresql import Pool, Server
from tests.concurrency.site import RunningSite, another_server

#: Its database on each server.
DATABASE: Final = "site"


@dataclass(frozen=True)
class Origin:
    """A site that nobody serves, and the server that has its database."""

    site: RunningSite
    server: Server


@contextmanager
def site_with(origin: Origin, name: str, database: dict[str, Any]) -> Iterator[RunningSite]:
    """Serve the site with what its database is told to be."""
    with another_server(origin.site, name, CLUSTER_DATABASES=json.dumps({"default": database})) as site:
        yield site


def pooled(pool: Pool, **options: Any) -> dict[str, Any]:
    """Return the entry of a database behind a pool, as the documentation has it.

    :param options: what its connections have in addition.
    """
    return {"PORT": str(pool.port), "OPTIONS": options, "DISABLE_SERVER_SIDE_CURSORS": True}
