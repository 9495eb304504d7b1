"""The admin's form of an application."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from oauth_binding.authorization_server.issuing.application_rules import type_problems
from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core.toolkit_paths import ApplicationForm
from oauth_binding.models import grant_type_choices


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
        # django-oauth-toolkit's own single choice stays as long as it is among those chosen.
        primary = self.instance.authorization_grant_type
        if primary not in allowed:
            primary = allowed[0]
        self.instance.authorization_grant_type = primary
        self.instance.additional_grant_types = " ".join(name for name in allowed if name != primary)
        return allowed

    def clean(self) -> None:
        super().clean()
        problems = type_problems(
            token_type=self.cleaned_data.get("token_type"),
            access_token_algorithm=self.cleaned_data.get(
                "access_token_algorithm", self.instance.access_token_algorithm
            ),
            token_binding_type=self.cleaned_data.get("token_binding_type", NO_BINDING),
            grant_types=self.cleaned_data.get("allowed_grant_types"),
        )
        for field, error in problems:
            self.add_error(field if field in self.fields else "token_type", error)

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors:
            try:
                self.instance.clean_allowed_grant_types()
            except ValidationError as error:
                self.add_error(None, error)
