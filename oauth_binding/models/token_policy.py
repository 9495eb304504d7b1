"""What an operator sets per application beside the application's own table."""

from __future__ import annotations

from typing import Any, Final

from django.db import models
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

#: The ``sender_constraint`` of an application whose tokens are bearer tokens.
NO_CONSTRAINT: Final = "none"

#: That of an application whose clients prove a key with DPoP (RFC 9449).
DPOP: Final = "dpop"


class Demand(models.TextChoices):
    """How far something is demanded of a client; the steps of turning it on."""

    NO = "no", _("No")
    REPORT = "report", _("Report what would be refused")
    YES = "yes", _("Yes")


class TokenPolicy(models.Model):
    """What an operator sets for the tokens of an application; without a row, all is as by default."""

    # No constraint in the database, or it would block deletes once the app is gone.
    application = models.OneToOneField(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="token_policy",
        verbose_name=_("application"),
    )
    sender_constraint = models.CharField(
        _("sender constraint"),
        max_length=16,
        choices=[(NO_CONSTRAINT, _("None")), (DPOP, _("DPoP: the client proves a key of its own"))],
        default=NO_CONSTRAINT,
        db_default=NO_CONSTRAINT,
        help_text=_("What makes this application's tokens useless to whoever steals them"),
    )
    require_sender_constraint = models.CharField(
        _("require a proof"),
        max_length=16,
        choices=Demand.choices,
        default=Demand.NO,
        db_default=Demand.NO.value,
        help_text=_("What becomes of token requests without a proof"),
    )

    class Meta:
        verbose_name = _("token policy")
        verbose_name_plural = _("token policies")

    def __str__(self) -> str:
        return f"TokenPolicy #{self.pk}"

    @property
    def demands_proof(self) -> bool:
        """Whether token requests without a proof are refused."""
        return self.sender_constraint != NO_CONSTRAINT and self.require_sender_constraint == Demand.YES

    @property
    def reports_proof(self) -> bool:
        """Whether token requests without a proof are let through and reported."""
        return self.sender_constraint != NO_CONSTRAINT and self.require_sender_constraint == Demand.REPORT


def policy_of(application: Any) -> TokenPolicy:
    """Return the token policy of an application: that of its row, or one that has all by default."""
    try:
        policy: TokenPolicy = application.token_policy
    except TokenPolicy.DoesNotExist:
        return TokenPolicy()
    return policy
