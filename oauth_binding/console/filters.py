"""Filters that several lists have."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _


class StatusFilter(admin.SimpleListFilter):
    """By what has become of a row."""

    title = _("status")
    parameter_name = "status"

    def statuses(self) -> dict[str, tuple[Any, Q]]:
        """Return what can have become of a row: the name of each state, and the condition of its rows."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, label) for value, (label, _rows) in self.statuses().items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        statuses, value = self.statuses(), self.value()
        return queryset.filter(statuses[value][1]) if value in statuses else queryset
