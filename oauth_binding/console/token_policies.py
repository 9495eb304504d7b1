"""The section of an application's admin page with its token policy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import Count, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, json_script
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.console.explanations import (
    explain_all_audiences,
    explain_audiences,
    explain_device_limit,
    explain_device_limits,
    explain_lifetimes,
    explain_logout,
    explain_logouts,
    explain_policies,
    explain_policy,
    explain_presented_binding,
    explain_presented_bindings,
    explain_sites_device_limit,
)
from oauth_binding.console.links import list_url
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import (
    MISSED,
    SITE_ENTRIES,
    Demand,
    TokenBinding,
    TokenPolicy,
    demands_at,
    policy_of,
    policy_problems,
    site_value,
)

#: How long a report counts, in days.
MISSED_SINCE: Final = 7

#: The demands, and the fields that show their reports. The filters of the bindings have the same names.
REPORTS: Final = {
    "require_binding": "without_binding",
    "require_presented_binding": "without_presented_binding",
    "require_sender_constraint": "without_proof",
}

_CHOICES: Final = (
    "require_binding",
    "require_presented_binding",
    "sender_constraint",
    "require_sender_constraint",
)

_LIFETIMES: Final = (
    "access_token_lifetime",
    "client_token_lifetime",
    "constrained_token_lifetime",
    "refresh_token_lifetime",
    "login_lifetime",
    "reuse_min_lifetime",
    "rotate_refresh_tokens",
    "refresh_token_reuse_protection",
)

_AUDIENCES: Final = ("allowed_audiences", "default_audiences")

_DEVICE_LIMIT: Final = ("max_devices", "device_limit_action")

_LOGOUT: Final = ("revoke_on_logout",)

_BACKCHANNEL: Final = ("backchannel_logout_uri", "backchannel_logout_session_required")


def reported(demand: str, days: int) -> dict[str, Any]:
    """Return the conditions of bindings that were reported to fall short of a demand in the last days.

    :param demand: the field of the token policy.
    """
    return {f"{MISSED[demand]}__gte": timezone.now() - timedelta(days=days)}


class ClaimsField(forms.MultipleChoiceField):
    """The claims of a policy as check boxes; the column has their names, separated by spaces."""

    widget = forms.CheckboxSelectMultiple

    def prepare_value(self, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value

    def clean(self, value: Any) -> str:
        return " ".join(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class TokenPolicyFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The one policy of an application, checked against what is chosen for the application itself."""

    def total_form_count(self) -> int:
        # Those who may only view see what holds if there is no row, too.
        return super().total_form_count() if self.is_bound else 1

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "claims" in form.fields:
            # Including one whose source is gone, so that it can be unticked.
            names = dict.fromkeys([*binding_settings.claim_sources, *form.instance.claims.split()])
            form.fields["claims"].choices = [(name, name) for name in names]

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            for field, error in policy_problems(self.instance, form.instance):
                form.add_error(field if field in form.fields else None, error)

    def save_new_objects(self, commit: bool = True) -> list[Any]:
        saved = super().save_new_objects(commit)
        # An application without a row has a policy, too: the history says what was changed in it.
        self.changed_objects += [
            (form.instance, form.changed_data) for form in self.extra_forms if form.instance in saved
        ]
        self.new_objects: list[Any] = []
        return saved


class TokenPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A policy; each field that can be left empty says what the site's value is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in SITE_ENTRIES:
            field: Any = self.fields.get(name)
            if field is None:
                continue
            value = site_value(name)
            if isinstance(field, forms.NullBooleanField):
                kept = _("Site default: yes") if value else _("Site default: no")
                field.widget.choices = [("unknown", kept), ("true", _("Yes")), ("false", _("No"))]
            elif value is not None:
                field.widget.attrs["placeholder"] = value


class TokenPolicyInline(admin.StackedInline):  # type: ignore[type-arg]
    """The token policy of an application, for those who may see or change the application."""

    model = TokenPolicy
    form = TokenPolicyForm
    formset = TokenPolicyFormSet
    template = "admin/oauth_binding/token_policy.html"
    can_delete = False
    radio_fields = dict.fromkeys((*_CHOICES, "device_limit_action", "revoke_on_logout"), admin.VERTICAL)

    class Media:
        js = ("oauth_binding/application_form.js",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        demands = [] if obj is None else demands_at(Demand.REPORT, obj, policy_of(obj))
        fields = [*_CHOICES, "effect", *(REPORTS[demand] for demand in demands)]
        audiences = [*_AUDIENCES, "audiences_effect"]
        if binding_settings.claim_sources or (obj is not None and policy_of(obj).claims):
            audiences.append("claims")
        return [
            (_("Token policy"), {"fields": fields}),
            (
                _("Lifetimes"),
                {
                    "fields": [*_LIFETIMES, "lasts"],
                    "description": _(
                        "Where a field is empty, the site's default applies; it is shown in grey."
                    ),
                },
            ),
            (_("Devices"), {"fields": [*_DEVICE_LIMIT, "sites_device_limit", "device_limit_effect"]}),
            (_("Audiences and claims"), {"fields": audiences}),
            (_("Logout"), {"fields": [*_LOGOUT, "logout_effect", *_BACKCHANNEL]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        told = (
            *("effect", *REPORTS.values(), "lasts", "audiences_effect"),
            *("sites_device_limit", "device_limit_effect", "logout_effect"),
        )
        chosen = (*_CHOICES, *_LIFETIMES, *_DEVICE_LIMIT, *_AUDIENCES, "claims", *_LOGOUT, *_BACKCHANNEL)
        return told if self.has_change_permission(request, obj) else (*chosen, *told)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "claims":
            label = capfirst(db_field.verbose_name)
            return ClaimsField(label=label, help_text=db_field.help_text, required=False)
        if db_field.name in _AUDIENCES:
            kwargs["widget"] = forms.Textarea({"rows": 2, "cols": 80})
        if db_field.name == "backchannel_logout_uri":
            kwargs["widget"] = AdminTextInputWidget({"class": "vLargeTextField"})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_choice_field(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "revoke_on_logout":
            kwargs["choices"] = [("", _("What django-oauth-toolkit ends")), *db_field.flatchoices]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    # It is part of the application, even if a site decides in its own way who may change that.

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
        binding_type = _binding_type(policy)
        at_apis = explain_presented_binding(policy.require_presented_binding, binding_type)
        text = explain_policy(policy.sender_constraint, policy.require_sender_constraint, binding_type)
        return format_html(
            "{}{}",
            _line("presented-binding-effect", at_apis, explain_presented_bindings()),
            _line("sender-constraint-effect", text, explain_policies()),
        )

    @admin.display(description=_("Where it is empty"))
    def sites_device_limit(self, policy: TokenPolicy) -> str:
        return explain_sites_device_limit()

    @admin.display(description=_("What this does"))
    def device_limit_effect(self, policy: TokenPolicy) -> str:
        text = explain_device_limit(policy.device_limit_action, _binding_type(policy))
        return _line("device-limit-effect", text, explain_device_limits())

    @admin.display(description=_("What this does"))
    def lasts(self, policy: TokenPolicy) -> str:
        application = None if policy.application_id is None else policy.application
        return explain_lifetimes(policy, application)

    @admin.display(description=_("What this does"))
    def audiences_effect(self, policy: TokenPolicy) -> str:
        text = explain_audiences(bool(policy.allowed_audiences), bool(policy.default_audiences))
        return _line("audiences-effect", text, explain_all_audiences())

    @admin.display(description=_("What this does"))
    def logout_effect(self, policy: TokenPolicy) -> str:
        text = explain_logout(policy.revoke_on_logout or "", _binding_type(policy))
        return _line("logout-effect", text, explain_logouts())

    @admin.display(description=_("Without a binding"))
    def without_binding(self, policy: TokenPolicy) -> str:
        # They are all in the shared slots, so that users can be told apart, but not their devices.
        numbers = self._reported(policy, "require_binding").aggregate(
            users=Count("user", distinct=True), of_client=Count("pk", filter=Q(user=None))
        )
        text = ngettext(
            "%(number)d user in the last %(days)d days made token requests that named no binding.",
            "%(number)d users in the last %(days)d days made token requests that named no binding.",
            numbers["users"],
        ) % {"number": numbers["users"], "days": MISSED_SINCE}
        if numbers["of_client"]:
            text += " " + gettext("The client has made some for itself.")
        return self._link(text, policy, "require_binding") if any(numbers.values()) else text

    @admin.display(description=_("Without the binding at APIs"))
    def without_presented_binding(self, policy: TokenPolicy) -> str:
        number = self._reported(policy, "require_presented_binding").count()
        text = ngettext(
            "%(number)d device in the last %(days)d days called an API without naming its binding.",
            "%(number)d devices in the last %(days)d days called an API without naming their binding.",
            number,
        ) % {"number": number, "days": MISSED_SINCE}
        return self._link(text, policy, "require_presented_binding") if number else text

    @admin.display(description=_("Without a proof"))
    def without_proof(self, policy: TokenPolicy) -> str:
        if policy.application.token_binding_type == NO_BINDING:
            return str(_("Devices can't be told apart, nor counted, without a token binding type."))
        number = self._reported(policy, "require_sender_constraint").count()
        text = ngettext(
            "%(number)d device in the last %(days)d days sent no proof.",
            "%(number)d devices in the last %(days)d days sent no proof.",
            number,
        ) % {"number": number, "days": MISSED_SINCE}
        return self._link(text, policy, "require_sender_constraint") if number else text

    def _reported(self, policy: TokenPolicy, demand: str) -> QuerySet[TokenBinding]:
        bindings = TokenBinding.objects.filter(application=policy.application)
        return bindings.filter(**reported(demand, MISSED_SINCE))

    def _link(self, text: str, policy: TokenPolicy, demand: str) -> str:
        """Return a text that links to the bindings it is about, if the admin has a list of them."""
        if not self.admin_site.is_registered(TokenBinding):
            return text
        query = urlencode({"application__id__exact": policy.application_id, REPORTS[demand]: MISSED_SINCE})
        return format_html('<a href="{}">{}</a>', list_url(self.admin_site, TokenBinding, query), text)


def _binding_type(policy: TokenPolicy) -> str:
    return NO_BINDING if policy.application_id is None else str(policy.application.token_binding_type)


def _line(name: str, text: str, texts: dict[str, str]) -> str:
    """Return a line that says what the choices do; application_form.js changes the text with them.

    :param text: the choices that are made.
    :param texts: the explanations of all possible choices.
    """
    shown = format_html('<div id="{}" role="status">{}</div>', name, text)
    return format_html("{}{}", shown, json_script(texts, f"{name}s"))
