"""The admin's form of an application."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.binding.semantics import NO_BINDING, TokenType
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import ApplicationForm
from oauth_binding.models import binding_is_public, demands_binding, grant_type_choices


class BindingApplicationForm(ApplicationForm):
    """An application as the console shows it: several grant types, and a token type that can be issued."""

    allowed_grant_types = forms.MultipleChoiceField(
        label=_("Allowed grant types"),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("How this application may obtain tokens; refresh tokens come with most of them."),
    )

    class Media:
        js = ("oauth_binding/application_form.js",)
        css = {"all": ("oauth_binding/application_form.css",)}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("allowed_grant_types")
        if isinstance(field, forms.MultipleChoiceField):
            model = type(self.instance)
            field.choices = grant_type_choices(model)
            if self.instance.pk:
                field.initial = self.instance.allowed_grant_types

    def clean_allowed_grant_types(self) -> list[str]:
        allowed: list[str] = self.cleaned_data["allowed_grant_types"]
        # django-oauth-toolkit's own single choice stays as long as it is among them.
        primary = self.instance.authorization_grant_type
        if primary not in allowed:
            primary = allowed[0]
        self.instance.authorization_grant_type = primary
        self.instance.additional_grant_types = " ".join(name for name in allowed if name != primary)
        return allowed

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("token_type") == TokenType.JWT.value:
            self._check_signing_key()
        allowed = self.cleaned_data.get("allowed_grant_types")
        binds = self.cleaned_data.get("token_binding_type", NO_BINDING) != NO_BINDING
        if binds and allowed == [AbstractApplication.GRANT_IMPLICIT]:
            self.add_error(
                "token_binding_type",
                ValidationError(
                    _("The implicit grant does not use the token endpoint, where tokens are bound."),
                    code="unused_binding",
                ),
            )

        if self.cleaned_data.get("require_presented_binding"):
            self._check_presented_binding()

    def _check_presented_binding(self) -> None:
        binding_type = self.cleaned_data.get("token_binding_type", NO_BINDING)
        if binding_type == NO_BINDING:
            message = _("Without a token binding type there is nothing that a request could name.")
            self.add_error("require_presented_binding", ValidationError(message, code="unused_binding"))
        elif binding_is_public(binding_type):
            message = _("What tokens of this binding type are bound to is public: naming it proves nothing.")
            self.add_error("require_presented_binding", ValidationError(message, code="public_binding"))

    def _check_signing_key(self) -> None:
        algorithm = self.cleaned_data.get("access_token_algorithm", self.instance.access_token_algorithm)
        try:
            get_signing_key(algorithm)
        except ImproperlyConfigured:
            self.add_error(
                "access_token_algorithm" if self.cleaned_data.get("access_token_algorithm") else "token_type",
                ValidationError(
                    _("JWTs can't be signed: this server has no %(algorithm)s key in use."),
                    code="no_signing_key",
                    params={"algorithm": algorithm or binding_settings.signing_algorithm},
                ),
            )

    def _post_clean(self) -> None:
        super()._post_clean()
        self._check_implicit_grant()
        if not self.errors:
            try:
                self.instance.clean_allowed_grant_types()
            except ValidationError as error:
                self.add_error(None, error)

    def _check_implicit_grant(self) -> None:
        implicit = AbstractApplication.GRANT_IMPLICIT in self.instance.allowed_grant_types
        if implicit and demands_binding(self.instance) and not self.has_error("token_binding_type"):
            self.add_error(
                "require_binding" if "require_binding" in self.fields else None,
                ValidationError(
                    _("This application demands a binding, and gets no access tokens by the implicit grant."),
                    code="unused_binding",
                ),
            )
