"""Proofs of possession that were accepted."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class UsedProof(models.Model):
    """A DPoP proof that was accepted, kept as long as it could be accepted again (RFC 9449 section 11.1)."""

    #: A digest of the proof's key, target and ``jti``: 64 lower-case hexadecimal characters.
    key = models.CharField(max_length=64, unique=True)
    #: From then on no server accepts the proof, whatever it remembers of it.
    expires = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("used proof")
        verbose_name_plural = _("used proofs")

    def __str__(self) -> str:
        return f"UsedProof #{self.pk}"
