"""What gunicorn loads as its configuration on a host whose clock libfaketime sets.

There clock_nanosleep(), by which Python sleeps, takes what the monotonic clock says for a date.
"""

from __future__ import annotations

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
