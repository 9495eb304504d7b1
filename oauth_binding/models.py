"""The binding registry, and the fields that binding needs on django-oauth-toolkit's models."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
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
from oauth_binding.key_file import ALGORITHMS
from oauth_binding.semantics import NO_BINDING, SHARED, TokenType

#: The grant type of an application that may exchange tokens, in the manner of django-oauth-toolkit's.
TOKEN_EXCHANGE: Final = "token-exchange"  # noqa: S105


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
    # Indexed for the admin's search: values are found by it.
    reference = models.CharField(_("reference"), max_length=43, blank=True, db_index=True)
    name = models.CharField(_("name"), max_length=100, blank=True)
    # Look rows up by this: it is unique also without a user, and MariaDB compares values without case.
    key = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(_("first seen"), default=timezone.now)
    last_used = models.DateTimeField(_("last used"), default=timezone.now)

    class Meta:
        verbose_name = _("token binding")
        verbose_name_plural = _("token bindings")
        permissions = [("revoke_tokenbinding", _("Can revoke token binding"))]

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
    subject_issuer = models.CharField(
        _("subject issuer"),
        max_length=255,
        blank=True,
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

    class Meta:
        verbose_name = _("token exchange rule")
        verbose_name_plural = _("token exchange rules")
        constraints = [
            models.UniqueConstraint(
                fields=["client", "subject_client"], name="oauth_binding_tokenexchangerule_pair"
            )
        ]

    def __str__(self) -> str:
        return f"{self.client}: {self.subject_client or self.subject_issuer}"

    def clean(self) -> None:
        """Refuse a rule that allows nothing, or that its client can't use."""
        if (self.subject_client_id is None) is not bool(self.subject_issuer):
            raise ValidationError(
                {"subject_issuer": _("Choose either a subject client or a subject issuer.")}
            )
        others = TokenExchangeRule.objects.exclude(pk=self.pk).filter(client_id=self.client_id)
        if self.subject_issuer and others.filter(subject_issuer=self.subject_issuer).exists():
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
            return  # said at the field
        if not self.client.allows_grant_type(TOKEN_EXCHANGE):
            raise ValidationError(
                {"client": _("The allowed grant types of this application have no token exchange.")}
            )
        is_public = self.client.client_type == AbstractApplication.CLIENT_PUBLIC
        if is_public and not binding_settings.token_exchange_public_clients:
            raise ValidationError({"client": _("A public client may not exchange tokens.")})


class TokenExchange(models.Model):
    """What the tokens were exchanged from that refer to it (RFC 8693); it stays as they are refreshed."""

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
    #: The issuer (``iss``) of the subject token, where that was another than this server.
    subject_issuer = models.CharField(max_length=255, blank=True)
    # Whose family, or which access token without one, the subject token was of: see subject_key().
    subject = models.CharField(max_length=64, db_index=True)
    subject_binding = models.ForeignKey(
        TokenBinding, on_delete=models.SET_NULL, db_constraint=False, null=True, related_name="exchanges"
    )
    #: The ``act`` claim (RFC 8693 section 4.1), or None without one.
    act = models.JSONField(null=True)
    key = models.CharField(max_length=64, unique=True)
    last_used = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("token exchange")
        verbose_name_plural = _("token exchanges")

    def __str__(self) -> str:
        return f"TokenExchange #{self.pk}"

    @property
    def claims(self) -> dict[str, Any]:
        """What introspection and JWTs say of the exchange."""
        return {} if self.act is None else {"act": self.act}


class RevokedToken(models.Model):
    """A JWT access token that was revoked or superseded before it expired, for the revocation feed."""

    jti = models.CharField(max_length=43, unique=True)
    #: When the token expires by what it says itself; the row is of no use from then on.
    expires = models.DateTimeField(db_index=True)
    revoked = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("revoked token")
        verbose_name_plural = _("revoked tokens")

    def __str__(self) -> str:
        return f"RevokedToken #{self.pk}"


def binding_type_choices() -> list[tuple[str, object]]:
    """Return the choices of ``token_binding_type``: none, then the installed binders."""
    choices: list[tuple[str, object]] = [(NO_BINDING, _("None"))]
    # What is wrong with BINDERS is for the check E006 to say; Django's own checks read the choices before it.
    with suppress(ImportError, AttributeError, TypeError):
        choices += [(binder.type, binder.label) for binder in binding_settings.binders.values()]
    return choices


def grant_type_choices(application_model: type[models.Model]) -> list[tuple[str, Any]]:
    """Return the grant types that applications may be allowed: django-oauth-toolkit's, and token exchange."""
    field: Any = application_model._meta.get_field("authorization_grant_type")
    return [*field.choices, (TOKEN_EXCHANGE, _("Token exchange"))]


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
    access_token_algorithm = models.CharField(
        _("access token algorithm"),
        max_length=16,
        choices=[("", _("The site's default")), *((name, name) for name in ALGORITHMS)],
        blank=True,
        default="",
        db_default="",
        help_text=_("What signs this application's JWT access tokens; its APIs have to accept it"),
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
    require_presented_binding = models.BooleanField(
        _("require the binding at APIs"),
        default=False,
        db_default=False,
        help_text=_("Refuse API requests that do not name what their token is bound to"),
    )
    additional_grant_types = models.CharField(
        _("additional grant types"),
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text=_("Grant types that are allowed beside the authorization grant type, space separated"),
    )

    authorization_grant_type: str

    class Meta:
        abstract = True

    @property
    def allowed_grant_types(self) -> list[str]:
        """The grant types that the application may use; first django-oauth-toolkit's own single choice."""
        return [self.authorization_grant_type, *self.additional_grant_types.split()]

    def allows_grant_type(self, *grant_types: str) -> bool:
        """Return whether the application may use one of some grant types.

        django-oauth-toolkit documents this method as the place for an application with several of them.
        """
        return not set(self.allowed_grant_types).isdisjoint(grant_types)

    def clean_allowed_grant_types(self) -> None:
        """Validate the additional grant types: known, named once, and each fit for the application.

        Raises a ValidationError keyed by field, as ``clean()`` does, with what ``clean()`` does not say.
        """
        primary, *additional = self.allowed_grant_types
        if unknown := set(additional).difference(dict(grant_type_choices(type(self)))):
            raise _grant_types_error(_("Unknown grant types: %(names)s"), unknown)
        if repeated := {name for name in additional if self.allowed_grant_types.count(name) > 1}:
            raise _grant_types_error(_("Grant types that are already allowed: %(names)s"), repeated)
        already = _problems(self, primary)
        problems = (problem for name in additional for problem in _problems(self, name))
        found = dict.fromkeys(problem for problem in problems if problem not in already)
        if found:
            raise ValidationError(
                {field: [error for name, error in found if name == field] for field, _ in found}
            )


def _grant_types_error(message: Any, names: set[str]) -> ValidationError:
    error = ValidationError(message, code="invalid", params={"names": " ".join(sorted(names))})
    return ValidationError({"additional_grant_types": error})


def _problems(application: Any, grant_type: str) -> list[tuple[str, ValidationError]]:
    """Return what ``clean()`` would find, by field, if the application had just this grant type."""
    application = copy.copy(application)
    application.authorization_grant_type, application.additional_grant_types = grant_type, ""
    try:
        application.clean()
    except ValidationError as error:
        fields: dict[str, list[ValidationError]] = error.update_error_dict({})
        return [(field, problem) for field, problems in fields.items() for problem in problems]
    return []


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


def _seed_field() -> models.CharField[str | None, str | None]:
    # What an opaque token is derived from where tokens are redacted at rest; see oauth_binding.values.
    return models.CharField(max_length=43, null=True, editable=False)


class AccessTokenBindingFields(models.Model):
    """What binding keeps of an access token."""

    binding = _binding_field("access_tokens")
    # The slot_key() while the token holds its slot, else null: the guarantee that no slot has two.
    slot = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    token_seed = _seed_field()
    exchange = _exchange_field("access_tokens")
    # The claim of a JWT (RFC 7519 section 4.1.7): its text is not kept, and revoking it has to name it.
    jti = models.CharField(max_length=43, null=True, editable=False)  # noqa: DJ001

    class Meta:
        abstract = True


class RefreshTokenBindingFields(models.Model):
    """What binding keeps of a refresh token."""

    binding = _binding_field("refresh_tokens")
    token_seed = _seed_field()
    exchange = _exchange_field("refresh_tokens")

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

for _name in ("allowed_grant_types", "allows_grant_type", "clean_allowed_grant_types"):
    setattr(Application, _name, vars(ApplicationBindingFields)[_name])
