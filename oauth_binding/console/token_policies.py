"""The section of an application's admin page that has its token policy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, json_script
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.console.explanations import explain_policies, explain_policy
from oauth_binding.models import TokenBinding, TokenPolicy, policy_of, policy_problems

#: How long ago a device may have sent no proof to be counted, in days.
MISSED_SINCE: Final = 7

_CHOICES: Final = ("sender_constraint", "require_sender_constraint")


def without_proof(days: int) -> dict[str, Any]:
    """Return the conditions of the bindings that sent no proof in the last days, while that was reported."""
    return {"proof_missed__gte": timezone.now() - timedelta(days=days)}


class TokenPolicyFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The one policy of an application, compared with what is chosen for the application itself."""

    def total_form_count(self) -> int:
        # Also who may only view sees what holds where there is no row.
        return super().total_form_count() if self.is_bound else 1

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            for field, error in policy_problems(self.instance, form.instance):
                form.add_error(field if field in form.fields else None, error)

    def save_new_objects(self, commit: bool = True) -> list[Any]:
        saved = super().save_new_objects(commit)
        # An application without a row has a policy, too: the history says what was changed of it.
        self.changed_objects += [
            (form.instance, form.changed_data) for form in self.extra_forms if form.instance in saved
        ]
        self.new_objects: list[Any] = []
        return saved


class TokenPolicyInline(admin.StackedInline):  # type: ignore[type-arg]
    """The token policy of an application, for who may see or change the application."""

    model = TokenPolicy
    formset = TokenPolicyFormSet
    template = "admin/oauth_binding/token_policy.html"
    can_delete = False
    radio_fields = dict.fromkeys(_CHOICES, admin.VERTICAL)

    class Media:
        js = ("oauth_binding/application_form.js",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        reports = obj is not None and policy_of(obj).reports_proof
        fields = [*_CHOICES, "effect", *(["without_proof"] if reports else [])]
        return [(_("Token policy"), {"fields": fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        told = ("effect", "without_proof")
        return told if self.has_change_permission(request, obj) else (*_CHOICES, *told)

    # It is a part of the application, also where a site decides in its own way who may change that.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self._application_admin.has_view_permission(request, obj))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        application_admin = self._application_admin
        if obj is None:
            return bool(application_admin.has_add_permission(request))
        return bool(application_admin.has_change_permission(request, obj))

    @property
    def _application_admin(self) -> Any:
        return self.admin_site.get_model_admin(self.parent_model)

    @admin.display(description=_("What this does"))
    def effect(self, policy: TokenPolicy) -> str:
        binding_type = NO_BINDING if policy.application_id is None else policy.application.token_binding_type
        text = explain_policy(policy.sender_constraint, policy.require_sender_constraint, binding_type)
        # application_form.js changes the text with the choices.
        shown = format_html('<div id="sender-constraint-effect" role="status">{}</div>', text)
        return format_html("{}{}", shown, json_script(explain_policies(), "sender-constraint-effects"))

    @admin.display(description=_("Without a proof"))
    def without_proof(self, policy: TokenPolicy) -> str:
        application = policy.application
        if application.token_binding_type == NO_BINDING:
            return str(_("Devices can't be told apart, nor counted, without a token binding type."))
        missed = TokenBinding.objects.filter(application=application, **without_proof(MISSED_SINCE))
        number = missed.count()
        text = ngettext(
            "%(number)d device in the last %(days)d days sent no proof.",
            "%(number)d devices in the last %(days)d days sent no proof.",
            number,
        ) % {"number": number, "days": MISSED_SINCE}
        if not number or not self.admin_site.is_registered(TokenBinding):
            return text
        url = reverse("admin:oauth_binding_tokenbinding_changelist", current_app=self.admin_site.name)
        query = urlencode({"application__id__exact": application.pk, "without_proof": MISSED_SINCE})
        return format_html('<a href="{}?{}">{}</a>', url, query, text)
