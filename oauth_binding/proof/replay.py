"""Remembering which proofs were used, so that each is accepted once (RFC 9449 section 11.1)."""

from __future__ import annotations

import logging
from math import ceil
from time import time
from typing import Final

from django.core.cache import caches

from oauth_binding.core.caches import CacheUnavailableError, asking
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.errors import ReplayedProofError, StoreUnavailableError

logger = logging.getLogger(__name__)

#: The prefix of the digests that are the keys in a cache.
_PREFIX: Final = "oauth_binding.proof:"


class ReplayStore:
    """Remembers proofs for all processes that accept them."""

    def record(self, proof: Proof) -> None:
        """Note that a proof is used.

        :raises ReplayedProofError: it was used before.
        :raises StoreUnavailableError: that can't be found out.
        """
        raise NotImplementedError


class CacheStore(ReplayStore):
    """Remembers proofs in one of ``CACHES``, which all processes have to share.

    :param alias: its name.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def record(self, proof: Proof) -> None:
        cache, key = caches[self.alias], _PREFIX + proof.replay_key
        try:
            with asking(self.alias, "used proofs"):
                if cache.add(key, 1, max(ceil(proof.expires - time()), 1)) is True:
                    return
                # Some caches also return this when they could not be reached.
                is_there = cache.get(key) is not None
        except CacheUnavailableError as error:
            raise StoreUnavailableError from error
        if is_there:
            raise ReplayedProofError
        logger.error("The cache %r does not keep used proofs.", self.alias)
        raise StoreUnavailableError
