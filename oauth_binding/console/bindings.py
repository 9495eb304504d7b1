"""The console's list of bindings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation.revoke import revoke_binding
from oauth_binding.binding.semantics import NO_BINDING, binding_reference
from oauth_binding.console.large_tables import LargeTableAdmin
from oauth_binding.console.read_only import RevocableAdmin, ask, is_confirmed, note
from oauth_binding.console.token_policies import MISSED_SINCE, without_proof
from oauth_binding.models import TokenBinding, binding_type_choices
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens


class BindingTypeFilter(admin.SimpleListFilter):
    """By the installed binding types; asking the table which there are would read all of it."""

    title = _("binding type")
    parameter_name = "binding_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [choice for choice in binding_type_choices() if choice[0] != NO_BINDING]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(binding_type=self.value()) if self.value() else queryset


class LastUsedFilter(admin.SimpleListFilter):
    """By the time since a binding was used last, in days."""

    title = _("last used")
    parameter_name = "unused_for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(days), _("more than %(days)s days ago") % {"days": days}) for days in (7, 30, 90)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"7", "30", "90"}:
            return queryset
        return queryset.filter(last_used__lt=timezone.now() - timedelta(days=int(self.value() or 0)))


class WithoutProofFilter(admin.SimpleListFilter):
    """By whether a token request had no proof in the last days, while an application has that reported."""

    title = _("without a proof")
    parameter_name = "without_proof"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(days), _("in the last %(days)s days") % {"days": days}) for days in (MISSED_SINCE, 30)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = dict(self.lookup_choices)
        if self.value() not in days:
            return queryset
        return queryset.filter(**without_proof(int(self.value() or 0)))


class TokenBindingChangeList(ChangeList):
    """Counts the live tokens of the bindings that are shown; as subqueries MariaDB counts those of all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        _count_live_tokens(self.result_list)


def _count_live_tokens(bindings: list[Any]) -> None:
    for name, model, condition in (
        ("live_access_tokens", get_access_token_model(), live_access_tokens()),
        ("live_refresh_tokens", get_refresh_token_model(), live_refresh_tokens()),
    ):
        tokens = model.objects.filter(condition, binding__in=bindings).order_by()
        numbers = dict(tokens.values_list("binding").annotate(number=Count("pk")))
        for binding in bindings:
            setattr(binding, name, numbers.get(binding.pk, 0))


@admin.register(TokenBinding)
class TokenBindingAdmin(LargeTableAdmin, RevocableAdmin):
    """Bindings can be looked at and revoked, and nothing else."""

    list_display = (
        "value",
        "name",
        "type_label",
        "application",
        "user",
        "live_access_tokens",
        "live_refresh_tokens",
        "created",
        "last_used",
    )
    list_filter = (BindingTypeFilter, LastUsedFilter, WithoutProofFilter, "application")
    search_help_text = _(
        "Search by a whole binding value or reference, client ID, application name, user name or "
        "email address"
    )
    fields = (*list_display[:5], "reference", *list_display[5:], "proof_missed")
    readonly_fields = fields
    actions = ("revoke",)
    revoke_permission = "oauth_binding.revoke_tokenbinding"

    # Nothing is joined: joined to the few applications, MariaDB would sort all bindings.
    list_select_related = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[TokenBinding]:
        return super().get_queryset(request).prefetch_related("application", "user")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TokenBindingChangeList]:
        return TokenBindingChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        binding = super().get_object(request, object_id, from_field)
        if binding is not None:
            _count_live_tokens([binding])
        return binding

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        yield from super().get_search_conditions(search_term)
        named = Q(reference__in=[search_term, binding_reference(search_term)])
        if TokenBinding.objects.filter(named).exists():
            yield named

    @admin.display(description=_("binding value"))
    def value(self, binding: TokenBinding) -> str:
        return str(_("(shared)")) if binding.is_shared else binding.binding_value

    @admin.display(description=_("binding type"))
    def type_label(self, binding: TokenBinding) -> str:
        return str(dict(binding_type_choices()).get(binding.binding_type, binding.binding_type))

    @admin.display(description=_("live access"))
    def live_access_tokens(self, binding: Any) -> str:
        return self._tokens_link(get_access_token_model(), binding, binding.live_access_tokens)

    @admin.display(description=_("live refresh"))
    def live_refresh_tokens(self, binding: Any) -> str:
        return self._tokens_link(get_refresh_token_model(), binding, binding.live_refresh_tokens)

    def _tokens_link(self, model: Any, binding: TokenBinding, number: int) -> str:
        if not self.admin_site.is_registered(model):
            return str(number)
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        url = reverse(name, current_app=self.admin_site.name)
        return format_html('<a href="{}?binding__id__exact={}">{}</a>', url, binding.pk, number)

    # Revoking

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        name = "oauth_binding_tokenbinding_revoke"
        return [path("<path:object_id>/revoke/", view, name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_revoke": self.has_revoke_permission(request)}
        return super().change_view(request, object_id, form_url, context)

    @admin.action(description=_("Revoke selected token bindings"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TokenBinding]) -> HttpResponse | None:
        bindings = self.take(request, queryset, gettext("Select at most %(number)d token bindings."))
        if bindings is None:
            return None
        if not is_confirmed(request):
            return self._confirm(request, bindings, action="revoke")
        self._revoke(request, bindings)
        return None

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke one binding, after a confirmation."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        binding = self.get_object(request, unquote(object_id))
        if binding is None:
            raise Http404
        if request.method == "POST":
            self._revoke(request, [binding])
            return HttpResponseRedirect(
                reverse("admin:oauth_binding_tokenbinding_changelist", current_app=self.admin_site.name)
            )
        return self._confirm(request, [binding])

    def _confirm(self, request: HttpRequest, bindings: list[TokenBinding], action: str = "") -> HttpResponse:
        question = ngettext(
            "All access and refresh tokens of this token binding will be revoked at once:",
            "All access and refresh tokens of these token bindings will be revoked at once:",
            len(bindings),
        )
        rows = [(binding, self._describe(binding)) for binding in bindings]
        title, answer = _("Revoke token bindings"), _("Yes, revoke")
        return ask(self, request, rows, title=title, question=question, answer=answer, action=action)

    def _describe(self, binding: TokenBinding) -> str:
        holder = "" if binding.user is None else f", {binding.user.get_username()}"
        return f"{binding.application}{holder}: {binding.name or self.value(binding)}"

    def _revoke(self, request: HttpRequest, bindings: list[TokenBinding]) -> None:
        for binding in bindings:
            revoke_binding(binding)
        note(self, request, bindings)
        number = len(bindings)
        message = ngettext(
            "%(number)d token binding was revoked.", "%(number)d token bindings were revoked.", number
        )
        self.message_user(request, message % {"number": number}, messages.SUCCESS)
