"""What the console says before users or applications are deleted: how much goes with them, not each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from django.contrib.admin.utils import NestedObjects, quote
from django.db.models import PROTECT, RESTRICT, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext

from oauth_binding.authorization_server.revocation.deletion import held_by_application, held_by_user
from oauth_binding.authorization_server.revocation.end_all import MAX_COUNTED
from oauth_binding.core.databases import write_alias
from oauth_binding.models import TokenBinding

#: How many rows are shown of a table that prevents other rows from being deleted.
MAX_PROTECTING: Final = 20

Deleted = tuple[list[Any], dict[str, Any], set[str], list[Any]]


def deleted_with_users(model_admin: Any, objs: Any, request: HttpRequest) -> Deleted:
    """Return what is deleted with users, for ``get_deleted_objects()`` of their admin."""
    return _deleted(model_admin, objs, request, held_by_user)


def deleted_with_applications(model_admin: Any, objs: Any, request: HttpRequest) -> Deleted:
    """Return what is deleted with applications, for ``get_deleted_objects()`` of their admin."""
    return _deleted(model_admin, objs, request, held_by_application)


def delete_each(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    """Delete users or applications, for ``delete_queryset()``: one by one, each with all that it holds."""
    for obj in queryset:
        obj.delete()


class _Others(NestedObjects):
    """What is deleted with something, except rows of some tables, of which there may be very many."""

    def __init__(self, *args: Any, without: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._without = set(without)

    def related_objects(self, related_model: Any, related_fields: Any, objs: Any) -> Any:
        found = super().related_objects(related_model, related_fields, objs)
        return found.none() if related_model in self._without else found


def _deleted(
    model_admin: Any, objs: Any, request: HttpRequest, held_by: Callable[[Any], Iterable[Any]]
) -> Deleted:
    # Like Django's own get_deleted_objects(), except for the tables that are counted.
    held = [rows for obj in objs for rows in held_by(obj.pk)]
    collector = _Others(
        using=write_alias(model_admin.model), origin=objs, without={rows.model for rows in held}
    )
    collector.collect(objs)
    site = model_admin.admin_site
    lacking: set[str] = set()

    def may_delete(model: Any, obj: Any = None) -> None:
        if site.is_registered(model) and not site.get_model_admin(model).has_delete_permission(request, obj):
            lacking.add(str(model._meta.verbose_name))

    def show(obj: Any) -> str:
        may_delete(type(obj), obj)
        return _link(site, obj)

    shown = collector.nested(show)
    models: dict[Any, Any] = collector.model_objs
    numbers: dict[str, Any] = {
        str(model._meta.verbose_name_plural): len(rows) for model, rows in models.items()
    }
    counted: dict[Any, int] = {}
    for rows in held:
        if rows.model is TokenBinding:
            rows = rows.filter(may_be_live__isnull=False)  # the models that the console has
        number = rows.order_by().values("pk")[: MAX_COUNTED + 1].count()
        if number:
            counted[rows.model] = counted.get(rows.model, 0) + number
    for held_model, number in counted.items():
        may_delete(held_model)
        numbers[str(held_model._meta.verbose_name_plural)] = (
            gettext("more than %(number)d") % {"number": MAX_COUNTED} if number > MAX_COUNTED else number
        )
    protected = [*collector.protected, *(obj for rows in held for obj in _protecting(rows))]
    return shown, numbers, lacking, [show(obj) for obj in protected]


def _protecting(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield what prevents rows from being deleted: a few rows of each of the site's tables that does."""
    for relation in rows.model._meta.related_objects:
        if relation.on_delete in {PROTECT, RESTRICT}:
            referring = relation.related_model._base_manager.using(rows.db)
            yield from referring.filter(**{f"{relation.field.name}__in": rows})[:MAX_PROTECTING]


def _link(site: Any, obj: Any) -> str:
    options = obj._meta
    name = f"{site.name}:{options.app_label}_{options.model_name}_change"
    if site.is_registered(type(obj)):
        try:
            address = reverse(name, args=(quote(obj.pk),))
        except NoReverseMatch:
            pass  # the admin of the model has no such page
        else:
            return format_html('{}: <a href="{}">{}</a>', capfirst(options.verbose_name), address, obj)
    return f"{capfirst(options.verbose_name)}: {obj}"
