"""The revocation feed, read as a consumer would that knows nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def read_feed(read: Callable[[str], dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the ``exp`` of the tokens that are revoked, and of those of users who are not active.

    :param read: returns the claims of a piece, by what stands after the feed's address.
    """
    head = read("")
    revoked: dict[str, int] = {}
    position = head["first"]
    minutes = {int(start) for start in head["slices"]}
    while position < head["listed"] or position <= max(minutes, default=0):
        piece = read(f"?from={position}")
        assert piece["from"] == position < piece["until"]
        revoked |= piece["revoked"]
        position = piece["until"]
        if position >= head["listed"]:
            position = min((start for start in minutes if start >= position // 60 * 60), default=position)
            position = max(position, piece["until"])
    suspended = {} if head["suspended"] is None else read("?list=suspended")["suspended"]
    return revoked, suspended
