"""What the history says about a change: the fields as in Django, and their values before and after."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext

#: How much of a value the history has, in characters.
MAX_TOLD: Final = 500


class ChangesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Puts values into the history: those of the fields that are known not to be secrets."""

    def told_fields(self, model: type[Model]) -> Collection[str]:
        """Return the fields whose values the history has.

        :param model: the model of the page, or of an inline.
        """
        raise NotImplementedError

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        message = super().construct_change_message(request, form, formsets, add)
        # In the order in which Django made them.
        notes = iter([note["changed"] for note in message if "changed" in note])
        if not add and form.changed_data:
            next(notes)["fields"] = self._told(form, form.changed_data)
        for formset in formsets or ():
            forms = {id(each.instance): each for each in formset.forms}
            for changed, names in formset.changed_objects:
                next(notes)["fields"] = self._told(forms[id(changed)], names)
        return message

    def _told(self, form: Any, names: Iterable[str]) -> list[str]:
        told = self.told_fields(form._meta.model)
        return [_change(form, name) if name in told else _label(form, name) for name in names]


def _label(form: Any, name: str) -> str:
    return str(form.fields[name].label or name)


def _change(form: Any, name: str) -> str:
    field = form.fields[name]
    before, after = form.get_initial_for_field(field, name), form.cleaned_data.get(name)
    values = {"field": _label(form, name), "before": _shown(field, before), "after": _shown(field, after)}
    return gettext("%(field)s (from %(before)s to %(after)s)") % values


def _shown(field: Any, value: Any) -> str:
    """Return a value as people read it: choices by their labels."""
    value = field.prepare_value(value)
    if value is None or value in ("", [], ()):
        return gettext("nothing")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    values = value if isinstance(value, list | tuple) else [value]
    if isinstance(field, ModelChoiceField):
        # Not by its choices, which are all rows of a table.
        name = field.to_field_name or "pk"
        rows: Any = field.queryset
        chosen = rows.filter(**{f"{name}__in": values})
        labels = {str(field.prepare_value(row)): field.label_from_instance(row) for row in chosen}
    else:
        labels = {str(key): str(label) for key, label in getattr(field, "choices", ())}
    text = ", ".join(labels.get(str(each)) or _quoted(each) for each in values)
    return Truncator(text).chars(MAX_TOLD)


def _quoted(value: Any) -> str:
    return gettext("“%(value)s”") % {"value": " ".join(str(value).split())}
