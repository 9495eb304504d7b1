"""What an operator sets per application."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from oauth_binding.binding.semantics import NO_BINDING, TokenType
from oauth_binding.core.databases import write_alias
from oauth_binding.core.jose.algorithms import SIGNING_ALGORITHMS
from oauth_binding.models.binding import binding_type_choices
from oauth_binding.models.exchange import TOKEN_EXCHANGE
from oauth_binding.models.subjects import names_a_user


def grant_type_choices(application_model: type[models.Model]) -> list[tuple[str, Any]]:
    """Return the grant types that applications can be allowed: django-oauth-toolkit's, and token exchange."""
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
        choices=[("", _("The site's default")), *((name, name) for name in SIGNING_ALGORITHMS)],
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
    additional_grant_types = models.CharField(
        _("additional grant types"),
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text=_(
            "Grant types that are allowed in addition to the authorization grant type, separated by spaces"
        ),
    )

    authorization_grant_type: str
    client_id: str

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Validate the application as django-oauth-toolkit does, and its client id.

        Raises a ValidationError keyed by field, with all that was found.
        """
        clean_client(self, super().clean)

    @property
    def allowed_grant_types(self) -> list[str]:
        """The grant types that the application may use, django-oauth-toolkit's own single choice first."""
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


def clean_client(application: Any, clean: Callable[[], None]) -> None:
    """Validate an application and its client id, and report what is wrong with both together.

    :param application: an application of any model.
    :param clean: validates all the rest of it.
    :raises ValidationError: keyed by field.
    """
    found: dict[str, list[ValidationError]] = {}
    for each in (clean, lambda: _clean_client_id(application)):
        try:
            each()
        except ValidationError as error:
            error.update_error_dict(found)
    if found:
        raise ValidationError(found)


def _clean_client_id(application: Any) -> None:
    """Refuse a client id that could be taken for a user's ``sub``, unless the application has it already."""
    if not names_a_user(application.client_id):
        return
    model = type(application)
    same = {"pk": application.pk, "client_id": application.client_id}
    # Its clients would have to learn a new one, and it is never used as a sub.
    if application.pk is None or not model._base_manager.using(write_alias(model)).filter(**same).exists():
        message = _(
            "This could be the primary key of a user, and tokens of the client could be taken for the user's."
        )
        raise ValidationError({"client_id": ValidationError(message, code="names_a_user")})


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


class BoundApplication(ApplicationBindingFields, AbstractApplication):
    """Base of a site's own application model."""

    class Meta(AbstractApplication.Meta):
        abstract = True
