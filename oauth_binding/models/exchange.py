"""Token exchange (RFC 8693): who may exchange what, and what was exchanged."""

from __future__ import annotations

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.models.binding import TokenBinding
from oauth_binding.models.token_policy import policy_of

#: The grant type of an application that may exchange tokens, named in django-oauth-toolkit's manner.
TOKEN_EXCHANGE: Final = "token-exchange"  # noqa: S105


class TokenExchangeRule(models.Model):
    """That a client may exchange the tokens of another client, or of another issuer (RFC 8693)."""

    client = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="token_exchange_rules",
        verbose_name=_("client"),
        help_text=_("The application that sends the token exchange request"),
    )
    subject_client = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("subject client"),
        help_text=_("The application that the token to be exchanged was issued to"),
    )
    # If there is none, it is null and never empty: MariaDB has no constraint with a condition.
    subject_issuer = models.CharField(  # noqa: DJ001
        _("subject issuer"),
        max_length=255,
        blank=True,
        null=True,
        help_text=_("Instead of a subject client: an issuer in TOKEN_EXCHANGE_ISSUERS"),
    )
    impersonation = models.BooleanField(
        _("impersonation"),
        default=False,
        help_text=_("Without an actor token: the client gets a token that is the user's and nothing else"),
    )
    delegation = models.BooleanField(
        _("delegation"),
        default=False,
        help_text=_("With an actor token: the token says who acts for the user"),
    )
    audiences = models.TextField(
        _("audiences"),
        blank=True,
        help_text=_("The audiences and resources that may be asked for, separated by white space"),
    )
    refresh_tokens = models.BooleanField(
        _("refresh tokens"),
        default=False,
        help_text=_("Issue refresh tokens, with which the client outlives the token it exchanged"),
    )
    accept_unproven_subject = models.BooleanField(
        _("unproven subject tokens"),
        default=False,
        db_default=False,
        help_text=_(
            "Accept a sender-constrained token without a proof of its key; the client proves one of "
            "its own. Never for public clients"
        ),
    )

    class Meta:
        verbose_name = _("token exchange rule")
        verbose_name_plural = _("token exchange rules")
        constraints = [
            models.UniqueConstraint(
                fields=["client", "subject_client"], name="oauth_binding_tokenexchangerule_pair"
            ),
            models.UniqueConstraint(
                fields=["client", "subject_issuer"], name="oauth_binding_tokenexchangerule_issuer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client}: {self.subject_client or self.subject_issuer}"

    @classmethod
    def find(cls, client: Any, subject_client: Any, subject_issuer: str) -> TokenExchangeRule | None:
        """Return the rule by which a client may exchange the tokens of another client or issuer, or None.

        :param client: the primary key of the client.
        :param subject_client: the primary key of the other client; None for the tokens of another issuer.
        :param subject_issuer: the ``iss`` of those; empty for the tokens of a client.
        """
        rules = written(cls).filter(
            client=client, subject_client=subject_client, subject_issuer=subject_issuer or None
        )
        # MariaDB ignores case when it compares text.
        return next((rule for rule in rules if (rule.subject_issuer or "") == subject_issuer), None)

    @property
    def allows_any_target(self) -> bool:
        """Whether the token policy of the client leaves anything that a token may be exchanged for."""
        policy, audiences = policy_of(self.client), self.audiences.split()
        if not audiences and policy.default_audiences:
            return True
        return not policy.allowed_audiences or any(map(policy.allows_audience, audiences))

    def clean(self) -> None:
        """Refuse a rule that allows nothing, or that its client can't use."""
        self.subject_issuer = self.subject_issuer or None
        if (self.subject_client_id is None) is not bool(self.subject_issuer):
            raise ValidationError(
                {"subject_issuer": _("Choose either a subject client or a subject issuer.")}
            )
        others = TokenExchangeRule.objects.exclude(pk=self.pk).filter(client_id=self.client_id)
        if self.subject_issuer and others.filter(subject_issuer=self.subject_issuer).exists():
            # What the constraint would say, but at the field.
            raise ValidationError({"subject_issuer": _("There is such a rule already.")})
        if self.subject_issuer and self.subject_issuer not in binding_settings.token_exchange_issuers:
            raise ValidationError(
                {"subject_issuer": _("This issuer is not in the setting TOKEN_EXCHANGE_ISSUERS.")}
            )
        if not (self.impersonation or self.delegation):
            raise ValidationError(
                {"impersonation": _("Allow impersonation or delegation, or the rule allows nothing.")}
            )
        if not self.client_id:
            return  # the field has its own message
        if not self.client.allows_grant_type(TOKEN_EXCHANGE):
            raise ValidationError(
                {"client": _("The allowed grant types of this application do not include token exchange.")}
            )
        is_public = self.client.client_type == AbstractApplication.CLIENT_PUBLIC
        if is_public and not binding_settings.token_exchange_public_clients:
            raise ValidationError({"client": _("A public client may not exchange tokens.")})
        if is_public and self.accept_unproven_subject:
            message = _("A public client has to prove the key of the token that it exchanges.")
            raise ValidationError({"accept_unproven_subject": message})
        if not self.allows_any_target:
            message = _("The token policy of the client allows none of these: the rule allows nothing.")
            raise ValidationError({"audiences": message})


class TokenExchange(models.Model):
    """What the tokens that refer to it were exchanged from (RFC 8693); it stays as they are refreshed."""

    # No constraints in the database, as above.
    client = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    subject_client = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    #: The issuer (``iss``) of the subject token, if that was another server.
    subject_issuer = models.CharField(max_length=255, blank=True)
    # The family of the subject token, or the access token itself if it has none: see subject_key().
    subject = models.CharField(max_length=64, db_index=True)
    subject_binding = models.ForeignKey(
        TokenBinding, on_delete=models.SET_NULL, db_constraint=False, null=True, related_name="exchanges"
    )
    # The login session that the subject token was bound to: the tokens last no longer than that; null: none.
    session_sid = models.UUIDField(null=True, editable=False)
    #: The ``act`` claim (RFC 8693 section 4.1), or None without one.
    act = models.JSONField(null=True)
    # How long the login may last, in seconds, by the applications before the subject client; null: no limit.
    login_lifetime = models.PositiveIntegerField(null=True, editable=False)
    key = models.CharField(max_length=64, unique=True)
    last_used = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("token exchange")
        verbose_name_plural = _("token exchanges")

    def __str__(self) -> str:
        return f"TokenExchange #{self.pk}"

    @property
    def claims(self) -> dict[str, Any]:
        """What introspection and JWTs say about the exchange."""
        return {} if self.act is None else {"act": self.act}
