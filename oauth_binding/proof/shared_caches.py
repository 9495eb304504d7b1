"""Which caches remember something for all processes of a site."""

from __future__ import annotations

from typing import Final

from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

#: What is wrong with Django's own caches; about others, nothing is known.
_PROBLEMS: Final = {
    LocMemCache: "that each process has for itself",
    DummyCache: "that keeps nothing",
    FileBasedCache: "in which two processes can add the same entry",
    DatabaseCache: "that deletes entries at random when it is full",
}


def problem_of(alias: str) -> str | None:
    """Return why a cache is not fit to remember used proofs, or None.

    :param alias: its name in ``CACHES``.
    """
    cache = caches[alias]
    return next((problem for kind, problem in _PROBLEMS.items() if isinstance(cache, kind)), None)
