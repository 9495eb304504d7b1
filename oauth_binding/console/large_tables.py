"""Admin lists of tables with millions of rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model

#: Rows that can be paged through; whoever looks for an older one searches or filters.
MAX_ROWS = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages through the first :data:`MAX_ROWS` rows, and counts no more of them."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        number: int = rows.values("pk")[:MAX_ROWS].count()
        return number


class LargeTableAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list by primary key, newest first; a search is for the whole value of an indexed column.

    The model has an ``application`` and a ``user``.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count over everything
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("application__client_id",)  # shows the box; see get_search_conditions()
    search_help_text = _("Search by a whole client ID, application name, user name or email address")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # Of an OR over joined tables nobody makes use of an index, so what is meant is looked up first.
        if not search_term:
            return queryset, False
        conditions = list(self.get_search_conditions(search_term))
        return (queryset.filter(reduce(or_, conditions)) if conditions else queryset.none()), False

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        """Yield a condition on the table's own columns for each kind of thing that a search term names."""
        named = Q(client_id=search_term) | Q(name=search_term)
        applications = list(get_application_model().objects.filter(named).values_list("pk", flat=True))
        if applications:
            yield Q(application__in=applications)
        user_model = get_user_model()
        named = Q(**{user_model.USERNAME_FIELD: search_term})
        email_field = user_model.get_email_field_name()
        if email_field in {field.name for field in user_model._meta.get_fields()}:
            named |= Q(**{email_field: search_term})
        users = list(user_model._default_manager.filter(named).values_list("pk", flat=True))
        if users:
            yield Q(user__in=users)
