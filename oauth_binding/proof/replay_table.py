"""Remembering used proofs in a table, if a site has no cache that all its processes share."""

from __future__ import annotations

import logging

from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from oauth_binding.core import moments
from oauth_binding.core.databases import write_alias, written
from oauth_binding.models import UsedProof
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.errors import ReplayedProofError, StoreUnavailableError
from oauth_binding.proof.replay import ReplayStore
from oauth_binding.storage.attempts import repeat

logger = logging.getLogger(__name__)


class TableStore(ReplayStore):
    """Remembers proofs in a table, each in a transaction of its own.

    If the site has a transaction around each request (``ATOMIC_REQUESTS``), that is a savepoint: the proof of
    a failed request is forgotten again.
    """

    def record(self, proof: Proof) -> None:
        expires = moments.at(proof.expires)
        rows = written(UsedProof)

        def insert() -> None:
            with transaction.atomic(using=write_alias(UsedProof)):
                rows.create(key=proof.replay_key, expires=expires)

        try:
            repeat(insert)
        except IntegrityError:
            # A row that has expired but is not cleared yet counts as cleared.
            expired = rows.filter(key=proof.replay_key, expires__lte=timezone.now())
            if not expired.update(expires=expires):
                raise ReplayedProofError from None
        except DatabaseError as error:
            logger.error("The table of used proofs can't be written: %s", type(error).__name__)
            raise StoreUnavailableError from error
