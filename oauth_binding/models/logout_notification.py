"""Logout tokens that are going to be sent, or were (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import uuid
from typing import Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from oauth_binding.models.login_session import MAX_SUBJECT_LENGTH

#: How much of the reason for a failed attempt is kept, in characters.
MAX_FAILURE_LENGTH: Final = 200


class LogoutNotification(models.Model):
    """Tells an application of the end of a login session; the token itself is made when it is sent.

    It has all that the token says, as session and user may be gone by then. It is *delivered*; or it is
    *waiting*, with a ``next_attempt``; or it has neither and was *given up*.
    """

    # No constraint in the database, as it would block deletes once the app is gone.
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
        verbose_name=_("application"),
    )
    issuer = models.TextField(_("issuer"))
    sub = models.CharField(max_length=MAX_SUBJECT_LENGTH)
    sid = models.UUIDField(_("session id"), editable=False)
    #: The claim of the token, the same in every attempt: a receiver that already got it can tell.
    jti = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created = models.DateTimeField(_("created"), default=timezone.now)
    #: When it is due; while it is being sent, when another process may assume that the sender has died.
    next_attempt = models.DateTimeField(
        _("next attempt"), default=timezone.now, null=True, blank=True, db_index=True
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    last_attempt = models.DateTimeField(_("last attempt"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    failure = models.CharField(_("last failure"), max_length=MAX_FAILURE_LENGTH, blank=True, default="")

    class Meta:
        verbose_name = _("logout notification")
        verbose_name_plural = _("logout notifications")

    def __str__(self) -> str:
        return f"LogoutNotification #{self.pk}"
