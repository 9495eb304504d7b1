"""Where an address is, according to the site's own ``DEVICE_PLACES``."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any, Final

from django.utils.module_loading import import_string

from oauth_binding.core.display_texts import clean

logger = logging.getLogger(__name__)

#: The longest name of a place, in characters.
MAX_PLACE_LENGTH: Final = 100

#: How many addresses a process remembers the place of.
_REMEMBERED: Final = 4096


class _PlaceError(Exception):
    """The site's code has failed."""


def place_of(path: str, address: str) -> str:
    """Return the place of an address; empty if it is not known, or the site's code fails, which is logged.

    A process asks once for each address, as long as it remembers it.

    :param path: the dotted path of a callable that takes the address and returns the place.
    :param address: the whole address.
    """
    try:
        return _ask(path, address)
    except _PlaceError as error:
        # Not the text of the error, which may quote the address.
        logger.error("The place of an address is not known: DEVICE_PLACES failed (%s)", error)
        return ""


@functools.lru_cache(maxsize=_REMEMBERED)
def _ask(path: str, address: str) -> str:
    try:
        place = import_string(path)(address)
    except Exception as error:
        raise _PlaceError(type(error).__name__) from error
    return clean(place, MAX_PLACE_LENGTH) if isinstance(place, str) else ""


def problems(path: Any) -> Iterator[str]:
    """Yield what is wrong with a value of ``DEVICE_PLACES``.

    :param path: the setting as the site wrote it.
    """
    if path is None:
        return
    if not isinstance(path, str):
        yield "is not the dotted path of a callable"
        return
    try:
        found = import_string(path)
    except ImportError as error:
        yield f"is {path!r}, which can't be imported ({error})"
        return
    if not callable(found):
        yield f"is {path!r}, which can't be called"
