"""Lines of the page of a user or an application: how many of something there are, and a link to them."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest

from oauth_binding.console.links import list_url


class Line(BaseInlineFormSet):  # type: ignore[type-arg]
    """A line about a user or an application: it has no forms, so it ignores what is sent to the page."""

    #: What the list's address has in addition to the user or the application.
    filters: ClassVar[dict[str, str]]

    #: The address of the page that ends all of it, if there is one and whoever looks may do that.
    end_all_url: str | None = None

    def __init__(self, data: Any = None, files: Any = None, save_as_new: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def is_valid(self) -> bool:
        return True

    @property
    def text(self) -> str:
        """How many there are."""
        raise NotImplementedError

    @property
    def query(self) -> str:
        """The query of the list's address."""
        to_field: Any = self.fk.target_field
        instance: Any = self.instance
        holder = f"{self.fk.name}__{to_field.name}__exact"
        return urlencode({holder: getattr(instance, to_field.attname), **self.filters})


class LineInline(admin.TabularInline):  # type: ignore[type-arg]
    """A ``Line``, for whoever may look at the list that it leads to."""

    fields = ("pk",)
    readonly_fields = ("pk",)
    template = "admin/oauth_binding/line.html"

    @property
    def list_url(self) -> str:
        """The address of the list."""
        return list_url(self.admin_site, self.model)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).none()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # As the list that it leads to says, if there is one; for what has just been added, there is none.
        if obj is None or not self.admin_site.is_registered(self.model):
            return False
        return self.admin_site.get_model_admin(self.model).has_view_permission(request)
