"""The console's list of bindings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation.revoke import revoke_binding
from oauth_binding.binding.semantics import NO_BINDING, binding_reference
from oauth_binding.console.cells import short_moment, two_lines, where
from oauth_binding.console.end_all import Matching, end_all_urls, is_end_all
from oauth_binding.console.exports import as_csv
from oauth_binding.console.labels import binding_label
from oauth_binding.console.large_tables import LargeChangeList, LargeTableAdmin, begins_with
from oauth_binding.console.links import list_url, query_of_rows
from oauth_binding.console.live_bindings import MAX_LOOKED_AT, newest_live
from oauth_binding.console.read_only import (
    RevocableAdmin,
    ask,
    is_confirmed,
    note_done,
    note_revoked,
)
from oauth_binding.console.token_policies import MISSED_SINCE, REPORTS, reported
from oauth_binding.devices.history import note
from oauth_binding.models import MISSED, TokenBinding, binding_is_public, binding_type_choices
from oauth_binding.models.binding import LABEL_LENGTH
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens

_REFERENCE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
#: The beginning of one, with so many characters that it is hardly ever an ordinary word.
_BEGINNING: Final = re.compile(r"[A-Za-z0-9_-]{8,43}")


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

    title = _("last use")
    parameter_name = "unused_for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(days), _("more than %(days)s days ago") % {"days": days}) for days in (7, 30, 90)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"7", "30", "90"}:
            return queryset
        return queryset.filter(last_used__lt=timezone.now() - timedelta(days=int(self.value() or 0)))


class LiveFilter(admin.SimpleListFilter):
    """By whether a binding has live tokens."""

    title = _("live tokens")
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("with live tokens"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Which of them have live tokens is looked up once all else is known; see TokenBindingChangeList.
        return queryset.filter(may_be_live=True) if self.value() == "yes" else queryset


class ReportedFilter(admin.SimpleListFilter):
    """By whether a request fell short of a demand in the last days, while that was reported."""

    demand: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(days), _("in the last %(days)s days") % {"days": days}) for days in (MISSED_SINCE, 30)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = dict(self.lookup_choices)
        if self.value() not in days:
            return queryset
        return queryset.filter(**reported(self.demand, int(self.value() or 0)))


class WithoutBindingFilter(ReportedFilter):
    demand = "require_binding"
    parameter_name = REPORTS[demand]
    title = _("last request without a binding")


class WithoutPresentedBindingFilter(ReportedFilter):
    demand = "require_presented_binding"
    parameter_name = REPORTS[demand]
    title = _("last API call without the binding")


class WithoutProofFilter(ReportedFilter):
    demand = "require_sender_constraint"
    parameter_name = REPORTS[demand]
    title = _("last request without a proof")


class TokenBindingChangeList(LargeChangeList):
    """Counts the live tokens of the bindings that are shown; in a subquery, MariaDB would count all."""

    #: All rows that the list is made from, before any limit, and whether it has only those with live tokens.
    unlimited: QuerySet[Any]
    live_only: bool
    #: Whether there are older ones that were not looked at.
    is_cut = False

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        self.unlimited = rows
        self.live_only = any(
            isinstance(spec, LiveFilter) and spec.value() == "yes" for spec in self.filter_specs
        )
        if self.live_only:
            live, self.is_cut = newest_live(rows)
            rows = rows.filter(pk__in=live)
        return rows

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        _count_live_tokens(self.result_list)
        if self.is_cut:
            self.say_at_least(self.result_count)

    @property
    def looked_at(self) -> str:
        return str(number_format(MAX_LOOKED_AT, force_grouping=True))


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

    list_display = ("binding", "user", "bound_for", "live_tokens", "used", "first_seen")
    sortable_by = ("first_seen",)  # by primary key: no other column's index has this order
    change_list_template = None  # the template for this model
    list_filter = (
        BindingTypeFilter,
        LastUsedFilter,
        LiveFilter,
        WithoutBindingFilter,
        WithoutPresentedBindingFilter,
        WithoutProofFilter,
        "application",
    )
    linked_fields = ("user",)
    search_help_text = _(
        "Search by the beginning of a reference (8 characters) or of a name, or by a whole client ID, "
        "application name, user name or email address"
    )
    fields: ClassVar[Any] = (
        *(
            "name",
            "type_label",
            "reference",
            "application",
            "user",
            "live_access_tokens",
            "live_refresh_tokens",
        ),
        *("created", "last_used"),
        *("looks_like", "last_address", "last_place", "first_address", "first_place", *MISSED.values()),
    )
    readonly_fields = fields
    actions = ("revoke",)
    revoke_permission = "oauth_binding.revoke_tokenbinding"

    # Nothing is joined: with the few applications joined, MariaDB would sort all bindings.
    list_select_related = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[TokenBinding]:
        return super().get_queryset(request).prefetch_related("application", "user")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Matching if is_end_all(request) else TokenBindingChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        binding = super().get_object(request, object_id, from_field)
        if binding is not None:
            _count_live_tokens([binding])
        return binding

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        yield from super().get_search_conditions(search_term)
        bindings = TokenBinding.objects.all()
        fields = ["name", "reference"] if _BEGINNING.fullmatch(search_term) else ["name"]
        for field in fields:
            named = begins_with(bindings, field, search_term)
            if bindings.filter(named).exists():
                yield named

    @admin.display(description=_("device"))
    def binding(self, binding: TokenBinding) -> str:
        known = binding.name or ("" if binding.is_shared else binding.description)
        return two_lines(known, binding.reference[:LABEL_LENGTH]) if known else binding_label(binding)

    @admin.display(description=_("application"))
    def bound_for(self, binding: TokenBinding) -> str:
        return two_lines(str(binding.application), self.type_label(binding))

    @admin.display(description=_("live tokens"))
    def live_tokens(self, binding: Any) -> str:
        access = gettext("%(number)s access") % {"number": binding.live_access_tokens}
        refresh = gettext("%(number)s refresh") % {"number": binding.live_refresh_tokens}
        return format_html(
            "{}<br>{}",
            self._tokens_link(get_access_token_model(), binding, access),
            self._tokens_link(get_refresh_token_model(), binding, refresh),
        )

    @admin.display(description=_("last used"))
    def used(self, binding: TokenBinding) -> str:
        return two_lines(short_moment(binding.last_used), where(binding))

    @admin.display(description=_("first seen"), ordering="pk")
    def first_seen(self, binding: TokenBinding) -> str:
        return short_moment(binding.created)

    @admin.display(description=_("device"))
    def looks_like(self, binding: TokenBinding) -> str:
        return binding.description or self.get_empty_value_display()

    @admin.display(description=_("binding type"))
    def type_label(self, binding: TokenBinding) -> str:
        return str(dict(binding_type_choices()).get(binding.binding_type, binding.binding_type))

    @admin.display(description=_("live access"))
    def live_access_tokens(self, binding: Any) -> str:
        return self._tokens_link(get_access_token_model(), binding, binding.live_access_tokens)

    @admin.display(description=_("live refresh"))
    def live_refresh_tokens(self, binding: Any) -> str:
        return self._tokens_link(get_refresh_token_model(), binding, binding.live_refresh_tokens)

    def _tokens_link(self, model: Any, binding: TokenBinding, text: Any) -> str:
        if not self.admin_site.is_registered(model):
            return str(text)
        url = list_url(self.admin_site, model, urlencode({"binding__id__exact": binding.pk}))
        return format_html('<a href="{}">{}</a>', url, text)

    def get_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, "oauth_binding_tokenbinding"
        return [
            *end_all_urls(self),
            path("csv/", wrap(self.csv_view), name=f"{name}_csv"),
            path("find/", wrap(self.find_view), name=f"{name}_find"),
            path("<path:object_id>/revoke/", wrap(self.revoke_view), name=f"{name}_revoke"),
            path("<path:object_id>/value/", wrap(self.value_view), name=f"{name}_value"),
            *super().get_urls(),
        ]

    def buttons(self, request: HttpRequest, obj: Any) -> dict[str, bool]:
        return {
            "may_revoke": self.has_revoke_permission(request),
            "may_view_value": self.has_view_value_permission(request) and _has_secret(obj),
        }

    def _url(self, page: str, *args: Any) -> str:
        name = f"admin:oauth_binding_tokenbinding_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    # Downloading

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send the bindings that the list of the same address would show as CSV, and note it in the history.

        It is in that of whoever downloads them.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            shown: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(list_url(self.admin_site, TokenBinding))
        what = ", ".join(f"{name}={value}" for name, value in sorted(request.GET.items()))
        text = gettext("Downloaded token bindings as CSV (%(what)s).")
        note(request.user, [request.user], text % {"what": what or gettext("all")})
        return as_csv(request, shown.unlimited, _count_live_tokens, live_only=shown.live_only)

    # Finding by the whole id

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        pages = ["find", "csv", *(["end_all"] if self.has_revoke_permission(request) else [])]
        urls = {f"{page}_url": self._url_of_rows(page, request) for page in pages}
        return super().changelist_view(request, {**(extra_context or {}), **urls})

    def _url_of_rows(self, page: str, request: HttpRequest) -> str:
        """Return the address of a page about the rows that a list shows."""
        query = query_of_rows(request)
        return self._url(page) + (f"?{query.urlencode()}" if query else "")

    @method_decorator((sensitive_post_parameters(), sensitive_variables()))
    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the list of bindings to an id, which is posted so that it is in no address and no log.

        The address has the reference instead. It is made from whatever was sent: even if no such id exists,
        it may have existed, or nearly be one.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = query_of_rows(request)
        value = request.POST.get("value")
        if value:
            # A thumbprint is its own reference.
            is_reference = (
                _REFERENCE.fullmatch(value) is not None
                and TokenBinding.objects.filter(reference=value).exists()
            )
            query[SEARCH_VAR] = value if is_reference else binding_reference(value)
        return HttpResponseRedirect(list_url(self.admin_site, TokenBinding, query.urlencode()))

    # Showing the whole id

    def has_view_value_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may look at the whole id of a binding, and not only at the binding."""
        user: Any = request.user
        return self.has_view_permission(request) and bool(user.has_perm("oauth_binding.view_binding_value"))

    @method_decorator(sensitive_variables())
    def value_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the whole id of one binding, on request, and note it in the history.

        Like every page of the admin, it is kept in no cache.
        """
        if not self.has_view_value_permission(request):
            raise PermissionDenied
        binding = self.get_object(request, unquote(object_id))
        if binding is None or not _has_secret(binding):
            raise Http404
        if request.method != "POST":
            # This happens after a login in between, which has lost the form.
            return HttpResponseRedirect(self._url("change", binding.pk))
        note_done(self, request, binding, gettext("Whole id shown: %(what)s."))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Whole id"),
            "opts": self.opts,
            "binding": binding,
            "label": binding_label(binding),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/oauth_binding/tokenbinding/value.html", context)

    # Revoking

    @admin.action(description=_("Revoke selected token bindings"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[TokenBinding]) -> HttpResponse | None:
        if request.POST.get("select_across") == "1":
            # More rows than the form names, and maybe more than one request can end.
            return HttpResponseRedirect(self._url_of_rows("end_all", request))
        bindings = self.take(request, queryset, gettext("Select at most %(number)d token bindings."))
        if bindings is None:
            return None
        if not is_confirmed(request):
            return self._confirm(request, bindings, action="revoke")
        self._revoke(request, bindings)
        return None

    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke one binding, after a confirmation."""
        return self.do_to_one(request, object_id, self._confirm, self._revoke)

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
        return f"{binding.application}{holder}: {binding_label(binding)}"

    def _revoke(self, request: HttpRequest, bindings: list[TokenBinding]) -> None:
        for binding in bindings:
            revoke_binding(binding)
            note_revoked(self, request, binding)
        number = len(bindings)
        message = ngettext(
            "%(number)d token binding was revoked.", "%(number)d token bindings were revoked.", number
        )
        self.message_user(request, message % {"number": number}, messages.SUCCESS)


def _has_secret(binding: TokenBinding) -> bool:
    """Return whether a binding has an id that its page does not show; a thumbprint is public."""
    return not binding.is_shared and not binding_is_public(binding.binding_type)
