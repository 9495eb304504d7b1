"""Asking one of a site's caches, whose server may not answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class CacheUnavailableError(Exception):
    """A cache could not be asked."""


@contextmanager
def asking(alias: str, about: str) -> Iterator[None]:
    """Ask a cache in this block, and do nothing else in it that could fail.

    :param alias: the name of the cache in ``CACHES``.
    :param about: what it is asked for, for the log.
    :raises CacheUnavailableError: it does not answer, or not in time, or has no room left.
    """
    try:
        yield
    except Exception as error:
        # Each cache has errors of its own.
        logger.error("The cache %r can't be used for %s: %s", alias, about, type(error).__name__)
        raise CacheUnavailableError from error
