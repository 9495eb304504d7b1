"""What somebody else has written, on one line of a log."""

from __future__ import annotations

from typing import Final

#: The longest text of somebody else's that goes into a log, in characters.
MAX_LENGTH: Final = 500


def one_line(value: object) -> str:
    """Return a text that can't be taken for another line of the log, or change what a terminal shows.

    :param value: an error of a library, which may quote what it was given; an identifier that a client has
        chosen; or the like.
    """
    text = str(value)[:MAX_LENGTH]
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
