"""What is known about an authorization code besides its row, which goes when it is redeemed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from oauth_binding.binding.confirmation import MAX_STORED_LENGTH
from oauth_binding.models.login_session import LoginSession


class CodeContext(models.Model):
    """What an authorization code was requested with and redeemed for (RFC 6749 section 4.1.2)."""

    #: SHA-256 of the code: 64 lower-case hexadecimal characters.
    digest = models.CharField(max_length=64, unique=True)
    # No constraints in the database, as they would block deletes once the app is gone.
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    #: The ``code_challenge`` and its method (RFC 7636 section 4.3); empty without one.
    code_challenge = models.CharField(max_length=128, blank=True)
    code_challenge_method = models.CharField(max_length=10, blank=True)
    #: Confirmation.stored of the ``dpop_jkt`` that it was requested with (RFC 9449 section 10); null without.
    confirmation = models.CharField(max_length=MAX_STORED_LENGTH, null=True)  # noqa: DJ001
    #: The browser that it was requested in, and when the user had signed in there; null if not known.
    session = models.ForeignKey(
        LoginSession, on_delete=models.SET_NULL, db_constraint=False, null=True, related_name="+"
    )
    authenticated_at = models.DateTimeField(null=True)
    created = models.DateTimeField(default=timezone.now, db_index=True)
    #: The family of the refresh token that it was redeemed for, which stays the same through refreshes.
    token_family = models.UUIDField(null=True)
    #: The primary key of the access token that it was redeemed for; empty as long as it was not redeemed.
    access_token = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = _("context of an authorization code")
        verbose_name_plural = _("contexts of authorization codes")

    def __str__(self) -> str:
        return f"CodeContext #{self.pk}"
