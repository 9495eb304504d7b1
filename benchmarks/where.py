"""Where the time of a request goes: the code of which package runs, or waits, when a timer goes off."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

#: Seconds of the clock between two samples.
_INTERVAL: Final = 0.001

#: What modules are part of. What is not here counts as its caller's, or as "other".
PARTS: Final = {
    "oauth_binding": "this app",
    "oauth2_provider": "DOT",
    "oauthlib": "oauthlib",
    "jwt": "crypto",
    "jwcrypto": "crypto",
    "cryptography": "crypto",
    "rest_framework": "DRF",
    "psycopg": "database",
    "sqlite3": "database",
    "django.db.backends": "database",
    "django.db.transaction": "database",
    "django.db": "ORM",
    "django": "Django",
    "benchmarks.floor": "bare view",
}
OTHER: Final = "other"
HEAD: Final = [*dict.fromkeys(PARTS.values()), OTHER]


def sample(run: Callable[[], list[float]]) -> dict[str, float]:
    """Return the milliseconds that a request spent in each part, in the mean.

    :param run: makes the requests, and returns the seconds that each took.
    """
    counted: Counter[str] = Counter()

    def look(number: int, frame: FrameType | None) -> None:
        counted[_part(frame)] += 1

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _INTERVAL, _INTERVAL)
    try:
        seconds = run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    each = sum(seconds) / len(seconds) * 1000
    return {part: each * counted[part] / counted.total() for part in HEAD}


def _part(frame: FrameType | None) -> str:
    while frame is not None:
        module: Any = frame.f_globals.get("__name__", "")
        while module:
            if module in PARTS:
                return PARTS[module]
            module = module.rpartition(".")[0]
        frame = frame.f_back
    return OTHER
