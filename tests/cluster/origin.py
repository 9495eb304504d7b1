"""The site that all servers begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.cluster.postgresql import Server
from tests.concurrency.site import RunningSite

#: Its database on each server.
DATABASE: Final = "site"


@dataclass(frozen=True)
class Origin:
    """A site that nobody serves, and the server that has its database."""

    site: RunningSite
    server: Server
