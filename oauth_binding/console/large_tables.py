"""Admin lists of tables with millions of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from operator import and_, or_
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Q, QuerySet, Subquery
from django.db.models.sql import Query
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model

from oauth_binding.console.links import COUNT_VAR

#: How many rows can be counted and paged through; whoever looks for an older one searches or filters.
MAX_ROWS: Final = 100_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages through the first ``MAX_ROWS`` rows, and counts no more of them."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        number: int = rows.order_by().values("pk")[:MAX_ROWS].count()
        return number


class LargeChangeList(ChangeList):
    """Says how many rows there are: exactly up to ``MAX_ROWS``, and above that about how many, or at least.

    A larger number is counted exactly when that is asked for.
    """

    how_many: str | None = None
    counts_exactly = False

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(COUNT_VAR, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        # Not in the links of the page: the number is only for this page.
        self.counts_exactly = self.filter_params.pop(COUNT_VAR, None) is not None
        self.params.pop(COUNT_VAR, None)
        super().get_results(request)
        self.result_count: int
        if self.result_count < MAX_ROWS:
            return
        self.full_result_count = self.result_count  # or the search says that it has found so many
        if self.counts_exactly:
            number = _grouped(self.queryset.order_by().values("pk").count())
            self.how_many = f"{number} {self._rows}"
            return
        about = estimated(self.queryset)
        if about is None or about <= MAX_ROWS:
            self.say_at_least(MAX_ROWS)
            return
        text = gettext("About %(number)s %(rows)s")
        self.how_many = text % {"number": _grouped(about), "rows": self._rows}

    def say_at_least(self, number: int) -> None:
        """Say that there are this many rows, and maybe more."""
        self.full_result_count = self.result_count
        text = gettext("At least %(number)s %(rows)s")
        self.how_many = text % {"number": _grouped(number), "rows": self._rows}

    @property
    def _rows(self) -> str:
        return str(self.opts.verbose_name_plural)

    @property
    def max_rows(self) -> str:
        """How many can be paged through."""
        return _grouped(MAX_ROWS)

    @property
    def page_range(self) -> Any:
        return self.paginator.get_elided_page_range(self.page_num)

    @property
    def count_query(self) -> str:
        """The query of the same list with an exact count."""
        return self.get_query_string({COUNT_VAR: "exact"})


def _grouped(number: int) -> str:
    return str(number_format(number, force_grouping=True))


def estimated(queryset: QuerySet[Any]) -> int | None:
    """Return about how many rows a query finds, to two digits, or None if the database can't tell.

    PostgreSQL can, by its statistics, as long as no other table is involved.
    """
    if connections[queryset.db].vendor != "postgresql" or _has_subquery(queryset.query.where):
        return None
    (plan,) = json.loads(queryset.order_by().values("pk").explain(format="json"))
    number = int(plan["Plan"]["Plan Rows"])
    return round(number, 2 - len(str(number)))


def _has_subquery(expression: Any) -> bool:
    children = getattr(expression, "children", None) or expression.get_source_expressions()
    return any(
        isinstance(child, Subquery | Query)
        or (hasattr(child, "get_source_expressions") and _has_subquery(child))
        for child in children
    )


class LargeTableAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list by primary key, newest first; a search is for the whole value of an indexed column.

    If there are several words, each has to be found, as in Django's own lists; blanks may also be part of a
    value.

    The model has an ``application`` and a ``user``, or its admin says what is searched for.
    """

    paginator = BoundedPaginator
    change_list_template: ClassVar[Any] = "admin/oauth_binding/large_change_list.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # these would count everything
    ordering = ("-pk",)
    sortable_by: ClassVar[Any] = ()
    search_fields = ("application__client_id",)  # shows the box; see get_search_conditions()
    search_help_text = _("Search by a whole client ID, application name, user name or email address")

    class Media:
        css: ClassVar[Any] = {"all": ("oauth_binding/lists.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LargeChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        page = super().changelist_view(request, extra_context)
        context = getattr(page, "context_data", None) or {}
        if "cl" in context and context["cl"].how_many is not None:
            # "Select all" shows the number of rows that can be paged through.
            context["actions_selection_counter"] = False
        return page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        ways = [self._found_by([search_term])]
        words = [word for word in map(_unquoted, smart_split(search_term)) if word]
        if words != [search_term]:
            ways.append(self._found_by(words))
        conditions = [condition for condition in ways if condition is not None]
        return (queryset.filter(reduce(or_, conditions)) if conditions else queryset.none()), False

    def _found_by(self, terms: list[str]) -> Q | None:
        """Return the condition of rows that all of some terms name, or None if one of them names nothing."""
        # No database uses an index for an OR over joined tables, so what is meant is looked up first.
        named: list[Q] = []
        for term in dict.fromkeys(terms):
            conditions = list(self.get_search_conditions(term))
            if not conditions:
                return None
            named.append(reduce(or_, conditions))
        return reduce(and_, named) if named else None

    def get_search_conditions(self, search_term: str) -> Iterator[Q]:
        """Yield a condition on the table's own columns for each kind of thing that a search term names."""
        yield from of_applications(search_term)
        yield from of_users(search_term)


def _unquoted(word: str) -> str:
    is_quoted = word.startswith(("'", '"')) and word[0] == word[-1] and len(word) > 1
    return unescape_string_literal(word) if is_quoted else word


def begins_with(queryset: QuerySet[Any], field: str, prefix: str) -> Q:
    """Return the condition of a queryset's rows whose text in an indexed field begins with a given one.

    It uses the index on every database, while Django's ``startswith`` does so only on PostgreSQL. On MariaDB,
    upper and lower case are the same.
    """
    vendor = connections[queryset.db].vendor
    if vendor == "sqlite":
        return Q(**{f"{field}__gte": prefix, f"{field}__lt": prefix + chr(0x10FFFF)})
    return Q(**{f"{field}__{'istartswith' if vendor == 'mysql' else 'startswith'}": prefix})


def of_applications(search_term: str) -> Iterator[Q]:
    """Yield a condition for the rows of the applications that a search term names, if there are any."""
    named = Q(client_id=search_term) | Q(name=search_term)
    applications = list(get_application_model().objects.filter(named).values_list("pk", flat=True))
    if applications:
        yield Q(application__in=applications)


def of_users(search_term: str) -> Iterator[Q]:
    """Yield a condition for the rows of the users that a search term names, if there are any."""
    user_model = get_user_model()
    named = Q(**{user_model.USERNAME_FIELD: search_term})
    email_field = user_model.get_email_field_name()
    if email_field in {field.name for field in user_model._meta.get_fields()}:
        named |= Q(**{email_field: search_term})
    users = list(user_model._default_manager.filter(named).values_list("pk", flat=True))
    if users:
        yield Q(user__in=users)
