"""The nodes of a Galera cluster, where the harness is run on one."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any, Final

from django.db import connection

#: The variable ``wsrep_sync_wait`` where all has to be seen that was committed on any node before.
CAUSAL: Final = 15


def nodes() -> tuple[str, ...]:
    """Return their ports on this machine; none where there is one server."""
    return tuple(filter(None, os.environ.get("CONCURRENCY_NODES", "").split(",")))


def sync_wait() -> int:
    """Return ``wsrep_sync_wait`` of the site's own connections: 0 without causal reads."""
    return int(os.environ.get("CONCURRENCY_SYNC_WAIT", "0"))


def lag() -> float:
    """Return how far a node may be behind the others, in seconds; then it may answer what they have ended."""
    return 1.0 if nodes() and not sync_wait() else 0.0


def settle() -> None:
    """Wait until each node has what was committed on any."""
    for node in nodes():
        # Not Django's own, which pytest-django guards; nor one from before, which a node may have lost.
        wrapper = _on_node(node)
        parameters = wrapper.get_connection_params()
        del parameters["database"]
        with closing(wrapper.get_new_connection(parameters)) as connected:
            connected.cursor().execute("SELECT 1")


def on_first_node() -> Any:
    """Return a connection to the first node, or to the one server there is."""
    return _on_node(nodes()[0]) if nodes() else connection


def _on_node(node: str) -> Any:
    copied = connection.copy()
    copied.settings_dict["PORT"] = node
    copied.settings_dict["OPTIONS"]["init_command"] = f"SET SESSION wsrep_sync_wait = {CAUSAL}"
    return copied
