"""The nodes of a Galera cluster, where the harness is run on one."""

from __future__ import annotations

import functools
import os
from typing import Any, Final

from django.db import connection

#: Their ports on this machine, as ``tests/concurrency/galera`` starts them; none where there is one server.
NODES: Final = tuple(filter(None, os.environ.get("CONCURRENCY_NODES", "").split(",")))

#: The variable ``wsrep_sync_wait`` of the site's own connections: 0 without causal reads.
SYNC_WAIT: Final = int(os.environ.get("CONCURRENCY_SYNC_WAIT", "0"))

#: The same where whatever was committed on another node before has to be seen: every statement waits for it.
CAUSAL: Final = 15

#: How long a node may answer what others have changed, in seconds.
LAG: Final = 1.0 if NODES and not SYNC_WAIT else 0.0


def settle() -> None:
    """Wait until each node has what was committed on any."""
    for node in NODES:
        cursor = _connect(node).cursor()
        cursor.execute("SELECT 1")
        cursor.close()


def on_first_node() -> Any:
    """Return a connection to the database server of the suite, or to the first node."""
    return on_node(NODES[0]) if NODES else connection


def on_node(node: str) -> Any:
    copied = connection.copy()
    copied.settings_dict["PORT"] = node
    copied.settings_dict["OPTIONS"]["init_command"] = f"SET SESSION wsrep_sync_wait = {CAUSAL}"
    return copied


@functools.cache
def _connect(node: str) -> Any:
    # Not Django's own connection, which pytest-django guards.
    wrapper = on_node(node)
    parameters = wrapper.get_connection_params()
    del parameters["database"]
    return wrapper.get_new_connection(parameters)
