"""Migration operations that widen another app's tables, which may be large and in use."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class InApp(Operation):
    """Run an operation as if it stood in a migration of another app, on that app's state and tables.

    :param app_label: the app to act on.
    :param operation: what to do there.
    """

    serialization_expand_args = ["operation"]

    def __init__(self, app_label: str, operation: Operation) -> None:
        self.app_label = app_label
        self.operation = operation

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        self.operation.state_forwards(self.app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self.operation.database_forwards(self.app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self.operation.database_backwards(self.app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"{self.app_label}: {self.operation.describe()}"


class AddFieldWithoutIndex(AddField):
    """``AddField``, but on PostgreSQL :class:`BuildIndex` makes the field's index or unique constraint later.

    The column must be nullable: adding it is then a change of the catalogue only.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            field = model._meta.get_field(self.name)
            sql = "ALTER TABLE %s ADD COLUMN %s %s NULL"
            quote = schema_editor.quote_name
            column_type = field.db_type(schema_editor.connection)
            schema_editor.execute(sql % (quote(model._meta.db_table), quote(field.column), column_type))


class BuildIndex(Operation):
    """Build the index of a field that :class:`AddFieldWithoutIndex` added, without blocking writes.

    Only PostgreSQL does that apart, and outside of a transaction; other databases have the index already.
    What an interrupted run has left behind is built anew.

    :param model_name: the model of the field.
    :param name: the field, which is indexed or unique.
    """

    reduces_to_sql = True

    def __init__(self, model_name: str, name: str) -> None:
        self.model_name = model_name
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or not self.allow_migrate_model(connection.alias, model):
            return
        field: Any = model._meta.get_field(self.name)
        name = f"{model._meta.db_table}_{field.column}_{'uniq' if field.unique else 'idx'}"
        quote = schema_editor.quote_name
        table, index, column = quote(model._meta.db_table), quote(name), quote(field.column)
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {index}")
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        if field.unique:
            schema_editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} ({column})")
            schema_editor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {index} UNIQUE USING INDEX {index}")
        else:
            schema_editor.execute(f"CREATE INDEX CONCURRENTLY {index} ON {table} ({column})")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        pass  # goes with the column

    def describe(self) -> str:
        return f"Build the index of {self.name} on {self.model_name}"
