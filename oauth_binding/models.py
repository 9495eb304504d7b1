"""The binding registry, and the fields that binding needs on django-oauth-toolkit's models."""

from __future__ import annotations

import copy
from contextlib import suppress

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    AbstractRefreshToken,
    AccessToken,
    Application,
    RefreshToken,
)
from oauth2_provider.settings import oauth2_settings

from oauth_binding.conf import binding_settings
from oauth_binding.semantics import NO_BINDING, SHARED, TokenType


class TokenBinding(models.Model):
    """What an application's tokens for one user are bound to: a device, or another client instance.

    Issuing into a slot of the binding locks this row, which stays while tokens come and go.
    """

    # Neither of these foreign keys has a constraint in the database: once this app is taken out, nothing
    # would delete the rows here before django-oauth-toolkit deletes the application or Django the user.
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="token_bindings",
        verbose_name=_("application"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="token_bindings",
        verbose_name=_("user"),
    )
    binding_type = models.CharField(_("binding type"), max_length=64)
    binding_value = models.CharField(_("binding value"), max_length=255, blank=True)
    reference = models.CharField(_("reference"), max_length=43, blank=True)
    # Look rows up by this: it is unique also without a user, and MariaDB compares values without case.
    key = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(_("first seen"), default=timezone.now)
    last_used = models.DateTimeField(_("last used"), default=timezone.now)

    class Meta:
        verbose_name = _("token binding")
        verbose_name_plural = _("token bindings")

    def __str__(self) -> str:
        # Never the binding value: __str__ ends up in logs and tracebacks.
        return f"TokenBinding #{self.pk}"

    @property
    def is_shared(self) -> bool:
        """Whether this is the binding of requests that named none; its tokens count as unbound."""
        return self.binding_value == SHARED

    @property
    def claims(self) -> dict[str, str]:
        """What introspection and JWTs say of the binding; nothing for the shared slot."""
        if self.is_shared:
            return {}
        return {"binding_type": self.binding_type, "binding_ref": self.reference}


def binding_type_choices() -> list[tuple[str, object]]:
    """Return the choices of ``token_binding_type``: none, then the installed binders."""
    choices: list[tuple[str, object]] = [(NO_BINDING, _("None"))]
    # What is wrong with BINDERS is for the check E006 to say; Django's own checks read the choices before it.
    with suppress(ImportError, AttributeError, TypeError):
        choices += [(binder.type, binder.label) for binder in binding_settings.binders.values()]
    return choices


class ApplicationBindingFields(models.Model):
    """What an operator sets per application."""

    token_type = models.CharField(
        _("token type"),
        max_length=16,
        choices=[(TokenType.OPAQUE.value, _("Opaque")), (TokenType.JWT.value, _("JWT"))],
        default=TokenType.OPAQUE.value,
        db_default=TokenType.OPAQUE.value,
        help_text=_("The form of this application's access tokens"),
    )
    token_binding_type = models.CharField(
        _("token binding type"),
        max_length=64,
        choices=binding_type_choices,
        default=NO_BINDING,
        db_default=NO_BINDING,
        help_text=_("What this application's tokens are bound to, so that one user can hold several"),
    )
    require_binding = models.BooleanField(
        _("require a binding"),
        default=False,
        db_default=False,
        help_text=_("Refuse token requests that name no binding"),
    )

    class Meta:
        abstract = True


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


def _seed_field() -> models.CharField[str | None, str | None]:
    # What an opaque token is derived from where tokens are redacted at rest; see oauth_binding.values.
    return models.CharField(max_length=43, null=True, editable=False)


class AccessTokenBindingFields(models.Model):
    """What binding keeps of an access token."""

    binding = _binding_field("access_tokens")
    # The slot_key() while the token holds its slot, else null: the guarantee that no slot has two.
    slot = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    token_seed = _seed_field()

    class Meta:
        abstract = True


class RefreshTokenBindingFields(models.Model):
    """What binding keeps of a refresh token."""

    binding = _binding_field("refresh_tokens")
    token_seed = _seed_field()

    class Meta:
        abstract = True


class BoundApplication(ApplicationBindingFields, AbstractApplication):
    """Base of a site's own application model."""

    class Meta(AbstractApplication.Meta):
        abstract = True


class BoundAccessToken(AccessTokenBindingFields, AbstractAccessToken):
    """Base of a site's own access-token model."""

    class Meta(AbstractAccessToken.Meta):
        abstract = True


class BoundRefreshToken(RefreshTokenBindingFields, AbstractRefreshToken):
    """Base of a site's own refresh-token model; its Meta carries django-oauth-toolkit's constraints."""

    class Meta(AbstractRefreshToken.Meta):
        abstract = True


#: The fields of each model that takes part in binding.
CONTRIBUTED_FIELDS: dict[type[models.Model], type[models.Model]] = {
    Application: ApplicationBindingFields,
    AccessToken: AccessTokenBindingFields,
    RefreshToken: RefreshTokenBindingFields,
}

# django-oauth-toolkit's own models get the fields the way Django's model inheritance gives them to a
# subclass. Swapped models too: migrations keep them in their state, and no table is made for them.
for _model, _fields in CONTRIBUTED_FIELDS.items():
    for _field in _fields._meta.local_fields:
        _model.add_to_class(_field.name, copy.deepcopy(_field))
