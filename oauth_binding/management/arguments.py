"""What commands take as arguments."""

from __future__ import annotations

from argparse import ArgumentTypeError


def days(text: str) -> int:
    """Return a number of days that somebody typed, 1 or more."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be 1 or more")
    return number
