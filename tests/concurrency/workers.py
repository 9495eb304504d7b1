"""What gunicorn is configured with: on a cluster each worker has its node, and any clock lets it sleep."""

from __future__ import annotations

import os
import select
import time
from typing import Any, SupportsIndex

from tests.concurrency.cluster import nodes


def post_fork(server: Any, worker: Any) -> None:
    """Choose the node of a worker, before it reads the settings."""
    if ports := nodes():
        os.environ["CONCURRENCY_NODE"] = ports[worker.age % len(ports)]


def _sleep(seconds: float | SupportsIndex) -> None:
    select.select([], [], [], float(seconds))


if "FAKETIME_DONT_FAKE_MONOTONIC" in os.environ:
    # libfaketime has clock_nanosleep(), by which Python sleeps, take the monotonic clock for a date.
    time.sleep = _sleep
