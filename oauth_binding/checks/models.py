"""Checks of the models and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models
from django.db.migrations.executor import MigrationExecutor
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.core.databases import write_alias
from oauth_binding.models import (
    AccessTokenBindingFields,
    ApplicationBindingFields,
    RefreshTokenBindingFields,
    TokenBinding,
)


def _active_models() -> list[tuple[type[models.Model], type[models.Model], str]]:
    return [
        (get_application_model(), ApplicationBindingFields, "BoundApplication"),
        (get_access_token_model(), AccessTokenBindingFields, "BoundAccessToken"),
        (get_refresh_token_model(), RefreshTokenBindingFields, "BoundRefreshToken"),
    ]


@register(Tags.models)
def check_fields(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E007: the models in use have the fields that binding needs."""
    return [
        Error(
            f"{model._meta.label} has no field {field.name!r}.",
            hint=f"Derive {model._meta.label} from oauth_binding.models.{base}, then run makemigrations.",
            obj=model,
            id="oauth_binding.E007",
        )
        for model, fields, base in _active_models()
        for field in fields._meta.local_fields
        if not _has_field(model, field.name)
    ]


def _has_field(model: type[models.Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


@register(Tags.database)
def check_tables(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E011: the widened tables have their columns."""
    messages: list[CheckMessage] = []
    for alias in databases or ():
        lost = list(_lost_columns(alias))
        if lost and not _has_unapplied_migrations(alias):
            messages += lost
    return messages


def _has_unapplied_migrations(alias: str) -> bool:
    # The columns of a swapped model come with the site's own migrations, and "migrate" runs the checks first.
    executor = MigrationExecutor(connections[alias])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrated_models(alias: str) -> Iterator[tuple[type[models.Model], type[models.Model]]]:
    """Yield the models whose tables this app's migrations have widened in a database, with the new fields."""
    tables = connections[alias].introspection.table_names()
    if TokenBinding._meta.db_table in tables:
        for model, fields, _base in _active_models():
            has_fields = all(_has_field(model, field.name) for field in fields._meta.local_fields)
            if has_fields and write_alias(model) == alias and model._meta.db_table in tables:
                yield model, fields


def _lost_columns(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    for model, fields in migrated_models(alias):
        table = model._meta.db_table
        with connection.cursor() as cursor:
            present = {
                column.name for column in connection.introspection.get_table_description(cursor, table)
            }
        contributed = {field.name for field in fields._meta.local_fields}
        for field in model._meta.concrete_fields:
            if field.name in contributed and field.column not in present:
                yield Error(
                    f"The table {table} has no column {field.column!r}, although all migrations are applied.",
                    hint="A table that was rebuilt while the app was not installed has lost its columns. Run "
                    "'migrate oauth_binding zero --fake --skip-checks', drop the tables "
                    "oauth_binding_* and the columns that are left, and run 'migrate'.",
                    id="oauth_binding.E011",
                )
