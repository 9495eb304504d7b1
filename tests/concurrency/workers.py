"""What gunicorn is configured with on a cluster: each worker has its node."""

from __future__ import annotations

import os
from typing import Any

from tests.concurrency.cluster import NODES


def post_fork(server: Any, worker: Any) -> None:
    """Choose the node of a worker, before it reads the settings."""
    if NODES:
        os.environ["CONCURRENCY_NODE"] = NODES[worker.age % len(NODES)]
