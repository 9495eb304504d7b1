"""The fields of access and refresh tokens."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractAccessToken, AbstractRefreshToken

from oauth_binding.binding.confirmation import MAX_STORED_LENGTH
from oauth_binding.models.binding import TokenBinding
from oauth_binding.models.exchange import TokenExchange
from oauth_binding.models.login_session import LoginSession


def _binding_field(related_name: str) -> models.ForeignKey[TokenBinding | None, TokenBinding | None]:
    # Indexed but without a constraint in the database: adding one would copy the token table on MariaDB and
    # read it under a lock on PostgreSQL.
    return models.ForeignKey(
        TokenBinding,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        editable=False,
        related_name=related_name,
        verbose_name=_("binding"),
    )


def _exchange_field(related_name: str) -> models.ForeignKey[TokenExchange | None, TokenExchange | None]:
    return models.ForeignKey(
        TokenExchange,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        editable=False,
        related_name=related_name,
        verbose_name=_("token exchange"),
    )


def _confirmation_field() -> models.CharField[str | None, str | None]:
    # Confirmation.stored: the key that a sender-constrained token is confirmed by; null for a bearer token.
    return models.CharField(max_length=MAX_STORED_LENGTH, null=True, editable=False)


def _login_started_field() -> models.DateTimeField[datetime | None, datetime | None]:
    # When the login that the token belongs to began, however often it was refreshed, exchanged or returned
    # again; null if it began with the token, and in rows that are older than the column.
    return models.DateTimeField(null=True, editable=False)


def _session_field() -> models.ForeignKey[LoginSession | None, LoginSession | None]:
    # The browser that the token came from, or null. Indexed without a constraint, as above.
    return models.ForeignKey(
        LoginSession,
        on_delete=models.SET_NULL,
        db_constraint=False,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("login session"),
    )


def _seed_field() -> models.CharField[str | None, str | None]:
    # What an opaque token is derived from if tokens are redacted at rest; see storage/token_values.py.
    return models.CharField(max_length=43, null=True, editable=False)


class AccessTokenBindingFields(models.Model):
    """What binding adds to an access token."""

    binding = _binding_field("access_tokens")
    # The slot_key() while the token holds its slot, else null: the guarantee that no slot has two tokens.
    slot = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    token_seed = _seed_field()
    exchange = _exchange_field("access_tokens")
    # The claim of a JWT (RFC 7519 section 4.1.7): its text is not kept, and revoking it has to name it.
    jti = models.CharField(max_length=43, null=True, editable=False)  # noqa: DJ001
    # The claim of a JWT as JSON (RFC 8693 section 4.4), which also holds for its refresh token and ID token.
    # Not a JSONField: MariaDB would copy the table to add one, as it has a constraint there.
    binding_may_act = models.TextField(null=True, editable=False)  # noqa: DJ001
    binding_confirmation = _confirmation_field()
    binding_login_started = _login_started_field()
    binding_session = _session_field()

    class Meta:
        abstract = True


class RefreshTokenBindingFields(models.Model):
    """What binding adds to a refresh token."""

    binding = _binding_field("refresh_tokens")
    token_seed = _seed_field()
    exchange = _exchange_field("refresh_tokens")
    binding_confirmation = _confirmation_field()
    binding_login_started = _login_started_field()
    binding_session = _session_field()

    class Meta:
        abstract = True


class BoundAccessToken(AccessTokenBindingFields, AbstractAccessToken):
    """Base of a site's own access-token model."""

    class Meta(AbstractAccessToken.Meta):
        abstract = True


class BoundRefreshToken(RefreshTokenBindingFields, AbstractRefreshToken):
    """Base of a site's own refresh-token model; its Meta carries django-oauth-toolkit's constraints."""

    class Meta(AbstractRefreshToken.Meta):
        abstract = True
