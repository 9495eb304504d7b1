"""Addresses of the console's lists."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR
from django.http import HttpRequest, QueryDict
from django.urls import reverse

#: The parameter in a list's address that asks for the number of all rows.
COUNT_VAR: Final = "count"


def list_url(admin_site: Any, model: Any, query: str = "") -> str:
    """Return the address of the list of a model.

    :param admin_site: where the model is registered.
    :param query: the query of the address, encoded; empty for none.
    """
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(name, current_app=admin_site.name) + (f"?{query}" if query else "")


def query_of_rows(request: HttpRequest) -> QueryDict:
    """Return what a list's address says about its rows, without what is only for one page of them."""
    query = request.GET.copy()
    for name in (PAGE_VAR, COUNT_VAR, ERROR_FLAG):
        query.pop(name, None)
    return query
