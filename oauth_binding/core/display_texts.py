"""Texts that others have written, made fit to be shown to people."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Control characters, ends of lines and invisible characters (Unicode 4.5); halves of characters, which no
#: database keeps.
_NOT_SHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: Invisible, but part of words and of emoji: ZERO WIDTH NON-JOINER and JOINER, and the tags of flags.
_JOINS: Final = frozenset(map(chr, (0x200C, 0x200D, *range(0xE0020, 0xE0080))))


def is_misleading(character: str) -> bool:
    """Return whether a character is invisible, and may change how others are shown.

    One that turns the direction of the text around it (UAX 9 section 2) counts.
    """
    if character in _JOINS:
        return False
    return unicodedata.category(character) in _NOT_SHOWN


def clean(text: str, max_length: int) -> str:
    """Return a text on one line, without misleading characters, and cut to a length.

    :param max_length: in characters.
    """
    spaced = " ".join(text.split())
    return "".join(each for each in spaced if not is_misleading(each))[:max_length].strip()
