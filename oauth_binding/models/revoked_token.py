"""What the revocation feed names."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class RevokedToken(models.Model):
    """A JWT access token that was revoked or superseded before it expired, for the revocation feed."""

    jti = models.CharField(max_length=43, unique=True)
    #: When the token expires by its own claim; from then on, the row is useless.
    expires = models.DateTimeField(db_index=True)
    revoked = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("revoked token")
        verbose_name_plural = _("revoked tokens")

    def __str__(self) -> str:
        return f"RevokedToken #{self.pk}"
