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

#: The same where all has to be seen that was committed on any node before.
CAUSAL: Final = 15

#: How far a node may be behind the others, in seconds; then it may answer what they have ended.
LAG: Final = 1.0 if NODES and not SYNC_WAIT else 0.0


def settle() -> None:
    """Wait until each node has what was committed on any."""
    for node in NODES:
        cursor = _connect(node).cursor()
        cursor.execute("SELECT 1")
        cursor.close()


def on_first_node() -> Any:
    """Return a connection to the first node, or to the one server there is."""
    return _on_node(NODES[0]) if NODES else connection


def _on_node(node: str) -> Any:
    copied = connection.copy()
    copied.settings_dict["PORT"] = node
    copied.settings_dict["OPTIONS"]["init_command"] = f"SET SESSION wsrep_sync_wait = {CAUSAL}"
    return copied


@functools.cache
def _connect(node: str) -> Any:
    # Not Django's own connection, which pytest-django guards.
    wrapper = _on_node(node)
    parameters = wrapper.get_connection_params()
    del parameters["database"]
    return wrapper.get_new_connection(parameters)
