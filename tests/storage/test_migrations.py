"""The migrations of this app widen tables that may be large and are in use: how they do that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

from oauth_binding.models.contributed_fields import CONTRIBUTED_FIELDS
from oauth_binding.storage.migration_operations import AddColumn, BuildIndex, InApp

on_postgresql: Final = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="other databases change a table at once"
)


def migrations() -> list[Any]:
    loader = MigrationLoader(None)
    (last,) = loader.graph.leaf_nodes("oauth_binding")
    return [
        loader.get_migration(*key) for key in loader.graph.forwards_plan(last) if key[0] == "oauth_binding"
    ]


def elsewhere(migration: Any) -> Iterator[Any]:
    """Yield what a migration does to the tables of django-oauth-toolkit."""
    for operation in migration.operations:
        if isinstance(operation, InApp):
            assert operation.app_label == "oauth2_provider"
            yield operation.operation


def test_no_transaction_locks_two_tables() -> None:
    """One that did would deadlock with requests that lock them the other way."""
    widened = {}
    for migration in migrations():
        tables = {operation.model_name for operation in elsewhere(migration)}
        if tables and migration.atomic:
            assert len(tables) == 1
            assert all(isinstance(operation, InApp) for operation in migration.operations)
            widened[migration.name] = tables.pop()

    assert sorted(widened.values()) == ["accesstoken", "application", "refreshtoken"]


def test_what_is_added_is_a_change_of_the_catalogue() -> None:
    """And processes that do not know the columns go on inserting rows."""
    added = [
        operation
        for migration in migrations()
        for operation in elsewhere(migration)
        if not isinstance(operation, BuildIndex)
    ]

    assert {type(operation) for operation in added} == {AddColumn}
    assert all(operation.field.null or operation.field.has_db_default() for operation in added)
    assert all(not operation.field.remote_field or not operation.field.db_constraint for operation in added)


def test_each_index_is_built_outside_of_a_transaction() -> None:
    fields: list[tuple[str | None, Any]] = [
        (model._meta.model_name, field)
        for model, fields in CONTRIBUTED_FIELDS.items()
        for field in fields._meta.local_fields
    ]
    built = [
        (migration.atomic, operation.model_name, operation.name)
        for migration in migrations()
        for operation in elsewhere(migration)
        if isinstance(operation, BuildIndex)
    ]

    assert sorted(built) == sorted(
        (False, model_name, field.name) for model_name, field in fields if field.db_index or field.unique
    )


@on_postgresql
def test_a_table_is_locked_at_the_end_of_a_migration_only(db: None) -> None:
    """Between two operations Django prepares its models, while requests would wait."""
    before = MigrationLoader(connection).project_state()
    after = before.clone()
    field: models.Field[Any, Any] = models.CharField(max_length=20, null=True)
    operation = InApp("oauth2_provider", AddColumn("accesstoken", "note", field))
    operation.state_forwards("oauth_binding", after)

    with connection.schema_editor() as editor:
        operation.database_forwards("oauth_binding", editor, before, after)
        assert not is_locked("oauth2_provider_accesstoken")

    assert is_locked("oauth2_provider_accesstoken")
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "oauth2_provider_accesstoken")
    assert "note" in {column.name for column in columns}


@on_postgresql
@pytest.mark.parametrize("name", ["slot", "binding"])
def test_an_index_that_an_interrupted_run_has_left_is_built_anew(db: None, name: str) -> None:
    state = MigrationLoader(connection).project_state()
    operation = InApp("oauth2_provider", BuildIndex("accesstoken", name))
    before = constraints("oauth2_provider_accesstoken")

    with connection.schema_editor() as editor:
        operation.database_forwards("oauth_binding", editor, state, state)

    assert constraints("oauth2_provider_accesstoken") == before


def constraints(table: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, table)


def is_locked(table: str) -> bool:
    """Return whether this connection keeps all others from a table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS(SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s::regclass"
            " AND mode = 'AccessExclusiveLock')",
            [table],
        )
        return bool(cursor.fetchone()[0])
