"""Login sessions: a browser in which a user is signed in, as applications see it."""

from __future__ import annotations

import uuid
from typing import Final

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models.binding import LABEL_LENGTH
from oauth_binding.models.sightings import Sighted

#: The ``token_binding_type`` of applications that have one token per login session.
SSO_SESSION: Final = "sso-session"

#: The longest ``sub`` of an ID token, in characters (OpenID Connect Core section 2).
MAX_SUBJECT_LENGTH: Final = 255


class TerminationReason(models.TextChoices):
    """Why a login session has ended."""

    LOGOUT = "logout", _("The user logged out")
    USER = "user", _("The user signed the browser out from elsewhere")
    OPERATOR = "operator", _("An operator ended it")
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere", _("The user was signed out everywhere")
    PASSWORD_CHANGE = "password_change", _("The password was changed")
    DEACTIVATION = "deactivation", _("The user was deactivated")
    DELETION = "deletion", _("The user was deleted")
    EXPIRED = "expired", _("It expired")


#: After these, a browser may still be signed in to the site, and begins another login session.
KEEPS_BROWSER: Final = frozenset({TerminationReason.PASSWORD_CHANGE, TerminationReason.EXPIRED})


class LoginSession(Sighted):
    """A session of a user at this server in one browser (OpenID Connect Back-Channel Logout 1.0 section 1.2).

    It begins with the first authorization request after a login, and its ``sid`` is kept in Django's session.
    The key of the latter, which is a secret, is not kept here.
    """

    #: The claim of ID tokens and logout tokens.
    sid = models.UUIDField(_("session id"), unique=True, default=uuid.uuid4, editable=False)
    # No constraint in the database, as it would block deletes once the app is gone.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="login_sessions",
        verbose_name=_("user"),
    )
    # What ID tokens said: when logout tokens are made, there is no request to take it from.
    issuer = models.TextField(_("issuer"), blank=True)
    authenticated_at = models.DateTimeField(_("authenticated"))
    created = models.DateTimeField(_("first seen"), default=timezone.now)
    last_seen = models.DateTimeField(_("last seen"), default=timezone.now)
    #: When Django's session expires, as far as is known; see ``note_saved()`` in sessions/browser.py.
    expires = models.DateTimeField(_("expires"))
    terminated_at = models.DateTimeField(_("ended"), null=True, blank=True)
    termination_reason = models.CharField(
        _("why it ended"), max_length=32, choices=TerminationReason.choices, blank=True
    )

    class Meta:
        verbose_name = _("login session")
        verbose_name_plural = _("login sessions")
        indexes = [models.Index(fields=["expires"], name="oauth_binding_session_expires")]
        permissions = [("end_loginsession", _("Can end login session"))]

    def __str__(self) -> str:
        return f"LoginSession #{self.pk}"

    @property
    def is_live(self) -> bool:
        """Whether it has neither ended nor expired."""
        return self.terminated_at is None and self.expires > timezone.now()

    @property
    def label(self) -> str:
        """What people get to see of it: the ``label`` of bindings to it, as long as they have no name."""
        return binding_reference(str(self.sid))[:LABEL_LENGTH]


class LoginSessionClient(models.Model):
    """An application that got an ID token in a login session, from which it may have made its own session."""

    session = models.ForeignKey(
        LoginSession, on_delete=models.CASCADE, db_constraint=False, related_name="clients"
    )
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    #: The ``sub`` of the ID token, which a site may choose per application.
    sub = models.CharField(max_length=MAX_SUBJECT_LENGTH)

    class Meta:
        verbose_name = _("client of a login session")
        verbose_name_plural = _("clients of login sessions")
        constraints = [
            models.UniqueConstraint(fields=["session", "application"], name="oauth_binding_session_client")
        ]

    def __str__(self) -> str:
        return f"LoginSessionClient #{self.pk}"
