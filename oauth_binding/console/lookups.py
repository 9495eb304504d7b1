"""Which lookups the address of an admin list may contain.

Django allows every field of a model: whoever may look at a list could find out a secret letter by letter,
with ``?token__startswith=a``, although no page shows it.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import url_params_from_lookup_dict
from django.core.exceptions import FieldDoesNotExist
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.urls import URLPattern

from oauth_binding.sessions.given_up import pages_if_given_up

#: The lookups that the filter of a date has in addition to those of others.
_DATE_PARTS: Final = ("year", "month", "day")


class KnownLookupsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Allows the lookups of the admin's filters, and of links to it; Django answers 400 to any other.

    A request that the database gives up for others is answered with a page that says so.
    """

    #: Fields that links from other pages use, in addition to those with a filter.
    linked_fields: tuple[str, ...] = ()

    @property
    def urls(self) -> list[URLPattern]:
        """The addresses of the pages, including those that subclasses add."""
        return pages_if_given_up(self.get_urls())

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        for limit in self.model._meta.related_fkey_lookups:
            # The choices of a foreign key to this model, with which its popup is opened.
            choices = limit() if callable(limit) else limit
            if (lookup, value) in url_params_from_lookup_dict(choices).items():
                return True
        parameters, paths = {self.date_hierarchy}, set(self.linked_fields)
        for item in self.list_filter if request is None else self.get_list_filter(request):
            if isinstance(item, type) and issubclass(item, admin.SimpleListFilter):
                parameters.add(item.parameter_name)
            else:
                paths.add(str(item[0] if isinstance(item, list | tuple) else item))
        if self.date_hierarchy is not None:
            parameters |= {f"{self.date_hierarchy}{LOOKUP_SEP}{part}" for part in _DATE_PARTS}
        return lookup in parameters or self._field_path(lookup) in {
            allowed for path in paths for allowed in self._as_looked_up(path)
        }

    def _field_path(self, lookup: str) -> str:
        """Return the field path of a lookup, without the comparison."""
        names: list[str] = []
        opts: Any = self.opts
        for part in lookup.split(LOOKUP_SEP):
            try:
                field = opts.get_field(opts.pk.name if part == "pk" else part)
            except FieldDoesNotExist:
                break
            names.append(field.name)
            if not getattr(field, "path_infos", None):
                break
            opts = field.path_infos[-1].to_opts
        return LOOKUP_SEP.join(names)

    def _as_looked_up(self, path: str) -> set[str]:
        """Return a path itself and, if it is that of a relation, the path of the field that it refers to."""
        field: Any = get_fields_from_path(self.model, path)[-1]
        target = getattr(field, "target_field", None)
        return {path} if target is None else {path, f"{path}{LOOKUP_SEP}{target.name}"}
