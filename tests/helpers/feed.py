"""The revocation feed, read as a consumer would that knows nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def read_feed(
    read: Callable[[str], dict[str, Any]], since: int | None = None
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the ``exp`` of the tokens that are revoked, and of those of users who are not active.

    :param read: returns the claims of a piece, by what stands after the feed's address.
    :param since: as of when to read, in seconds since the epoch; all that there is by default.
    """
    head = read("")
    revoked: dict[str, int] = {}
    position = head["first"] if since is None else since
    minutes = {int(start) for start in head["slices"]}
    while position < head["listed"] or position <= max(minutes, default=0):
        piece = read(f"?from={position}")
        assert piece["from"] <= position < piece["until"]
        revoked |= piece["revoked"]
        position = piece["until"]
        if position >= head["listed"]:
            position = min((start for start in minutes if start >= position // 60 * 60), default=position)
            position = max(position, piece["until"])
    suspended: dict[str, int] = {}
    for hour in map(int, head["suspended"]):
        position = hour
        while position < hour + 3600:
            piece = read(f"?suspended={position}")
            assert piece["from"] <= position < piece["until"]
            suspended |= piece["suspended"]
            position = piece["until"]
    return revoked, suspended
