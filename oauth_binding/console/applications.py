"""django-oauth-toolkit's admin classes with what binding adds: ``APPLICATION_ADMIN_CLASS`` and its like.

They are separate from ``admin.py``, so that both apps' admin modules can be imported in either order.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.decorators import method_decorator
from django.utils.html import format_html, json_script
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from oauth2_provider.models import get_access_token_model

from oauth_binding.binding.semantics import TokenType
from oauth_binding.console.application_form import BindingApplicationForm
from oauth_binding.console.changes import ChangesAdmin
from oauth_binding.console.deletion import delete_each, deleted_with_applications
from oauth_binding.console.explanations import explain, explain_choices
from oauth_binding.console.live_bindings import LiveBindingsInline
from oauth_binding.console.lookups import KnownLookupsAdmin
from oauth_binding.console.token_policies import TokenPolicyInline
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.toolkit_paths import ApplicationAdmin
from oauth_binding.models import Demand, TokenPolicy, grant_type_choices, policy_of
from oauth_binding.storage.liveness import live_access_tokens

_WHAT_BECOMES_OF_LIVE_TOKENS = _(
    "This application has live tokens. They stay valid, and refreshing keeps the binding they have, "
    "whatever binding type is chosen. After a change of the token type, the next request in each slot is "
    "answered with a token of the new type and revokes the one before."
)


# Its form has the client secret: no error report shows what is sent with it.
@method_decorator((sensitive_post_parameters(), sensitive_variables()), name="changeform_view")
class BindingApplicationAdmin(ChangesAdmin, KnownLookupsAdmin, ApplicationAdmin):
    """Applications with their grant types, token type and token binding."""

    form = BindingApplicationForm
    list_display = (
        "name",
        "client_id",
        "user",
        "client_type",
        "grant_types",
        "token_type",
        "token_binding_type",
    )
    list_display_links = ("name", "client_id")
    list_filter = ("token_type", "token_binding_type", *ApplicationAdmin.list_filter)
    list_select_related = ("user",)
    ordering = ("-pk",)  # the usual order, but also for the pages of completion
    search_fields = ("client_id", *ApplicationAdmin.search_fields)
    radio_fields = {"client_type": admin.HORIZONTAL, "token_type": admin.HORIZONTAL}
    exclude = ("authorization_grant_type", "additional_grant_types")
    readonly_fields = (*ApplicationAdmin.readonly_fields, "effect")

    #: The sections of the form; fields of a site's own model come last.
    sections = (
        (_("Basic details"), ("name", "user", "client_id", "client_secret", "hash_client_secret")),
        (
            _("Protocol"),
            (
                "client_type",
                "allowed_grant_types",
                "redirect_uris",
                "post_logout_redirect_uris",
                "allowed_origins",
                "skip_authorization",
                "algorithm",
            ),
        ),
        (
            _("Access token"),
            ("token_type", "access_token_algorithm", "token_binding_type", "effect"),
        ),
    )

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        exclude = super().get_exclude(request, obj)
        # One that is not hashed can be read there; whoever may change it could set another anyway.
        return exclude if self.has_change_permission(request, obj) else (*(exclude or ()), "client_secret")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = list(self.get_fields(request, obj))
        fieldsets = []
        for title, names in self.sections:
            present = [name for name in names if name in fields]
            fieldsets.append((title, {"fields": present}))
            fields = [name for name in fields if name not in present]
        return [*fieldsets, (_("Other"), {"fields": fields})]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        # Even if a site's class has inlines of its own.
        inlines = super().get_inlines(request, obj)
        if not any(issubclass(inline, TokenPolicyInline) for inline in inlines):
            inlines = [TokenPolicyInline, *inlines]
        if not any(issubclass(inline, LiveBindingsInline) for inline in inlines):
            inlines = [*inlines, LiveBindingsInline]
        return inlines

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        return deleted_with_applications(self, objs, request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        delete_each(self, request, queryset)

    def told_fields(self, model: Any) -> set[str]:
        if model is TokenPolicy:
            return {field.name for field in TokenPolicy._meta.concrete_fields}
        # Not the fields that a site's own model adds: they may be secrets.
        return {name for _title, names in BindingApplicationAdmin.sections for name in names} - {
            "client_secret"
        }

    def view_on_site(self, obj: Any) -> str | None:
        """Return the address of an application's page, or None if the site does not serve it."""
        try:
            return str(obj.get_absolute_url())
        except NoReverseMatch:
            return endpoint_path("detail", pk=str(obj.pk))

    @admin.display(description=_("grant types"))
    def grant_types(self, application: Any) -> str:
        labels = dict(grant_type_choices(type(application)))
        return ", ".join(str(labels.get(name, name)) for name in application.allowed_grant_types)

    @admin.display(description=_("What this does"))
    def effect(self, application: Any) -> str:
        demand = Demand.NO if application.pk is None else policy_of(application).require_binding
        text = explain(TokenType(application.token_type), application.token_binding_type, demand)
        # application_form.js changes the text with the choices.
        parts = [
            format_html('<div id="token-binding-effect" role="status">{}</div>', text),
            json_script(explain_choices(), "token-binding-effects"),
        ]
        if _has_live_tokens(application):
            parts.append(format_html('<p class="help">{}</p>', _WHAT_BECOMES_OF_LIVE_TOKENS))
        return format_html("{}" * len(parts), *parts)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        types = {"token_type", "token_binding_type"}
        if change and not types.isdisjoint(form.changed_data) and _has_live_tokens(obj):
            self.message_user(request, _WHAT_BECOMES_OF_LIVE_TOKENS, messages.WARNING)


def _has_live_tokens(application: Any) -> bool:
    tokens = get_access_token_model().objects.filter(live_access_tokens())
    return application.pk is not None and tokens.filter(application=application).exists()
