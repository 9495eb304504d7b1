"""Migration operations that widen another app's tables, which may be large and in use."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

#: On MariaDB: how long changing a table waits for those who use it, in seconds, and how often it is tried.
LOCK_WAIT_TIMEOUT: Final = 2
MAX_ATTEMPTS: Final = 100

_LOCK_ERRORS: Final = (1205, 1213)  # lock wait timeout, deadlock


class InApp(Operation):
    """Run an operation as if it were in a migration of another app, on that app's state and tables.

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
        change = partial(
            self.operation.database_forwards, self.app_label, schema_editor, from_state, to_state
        )
        _change(schema_editor, change)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        change = partial(
            self.operation.database_backwards, self.app_label, schema_editor, from_state, to_state
        )
        _change(schema_editor, change)

    def describe(self) -> str:
        return f"{self.app_label}: {self.operation.describe()}"


def _change(schema_editor: BaseDatabaseSchemaEditor, change: Callable[[], None]) -> None:
    """Change a table that requests are using.

    On MariaDB, an ALTER TABLE also locks the tables with foreign keys to the table, in a different order from
    requests. The database then gives up one of the two, and a migration that fails half-way can't be run
    again there. So the change never waits long, as everybody else would wait for it, and is tried again.
    """
    if schema_editor.connection.vendor != "mysql" or schema_editor.collect_sql:
        change()
        return
    timeouts = "SET SESSION lock_wait_timeout = {0}, innodb_lock_wait_timeout = {0}"
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(timeouts.format(LOCK_WAIT_TIMEOUT))
        try:
            _repeat(change)
            while schema_editor.deferred_sql:
                _repeat(partial(schema_editor.execute, schema_editor.deferred_sql[0], None))
                del schema_editor.deferred_sql[0]
        finally:
            cursor.execute(timeouts.format("DEFAULT"))


def _repeat(change: Callable[[], None]) -> None:
    attempt = 0
    while True:
        attempt += 1
        try:
            change()
            return
        except OperationalError as error:
            if attempt == MAX_ATTEMPTS or error.args[0] not in _LOCK_ERRORS:
                raise
            time.sleep(random.uniform(0, 1))  # noqa: S311


class AddColumn(AddField):
    """``AddField`` of a field that may be null, or has a default in the database, to a table that is in use.

    On PostgreSQL this changes the catalogue alone. The columns of a migration come at its end, one after the
    other: nobody waits for the table while Django prepares the next operation, which takes the longer the
    more models the site has. ``BuildIndex`` makes the index or unique constraint later.
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
            field: Any = model._meta.get_field(self.name)
            quote = schema_editor.quote_name
            definition = f"{quote(field.column)} {field.db_type(schema_editor.connection)}"
            if not field.null:
                default, parameters = schema_editor.db_default_sql(field)
                default %= tuple(map(schema_editor.quote_value, parameters))
                definition += f" DEFAULT {default} NOT NULL"
            schema_editor.deferred_sql.append(
                f"ALTER TABLE {quote(model._meta.db_table)} ADD COLUMN {definition}"
            )


class BuildIndex(Operation):
    """Build the index of a field that ``AddColumn`` added, without blocking writes.

    Only PostgreSQL does that separately, and outside of a transaction; other databases have the index
    already. In a transaction of the site's, such as one that makes a new tenant, the table is locked
    meanwhile. What an interrupted run has left behind is built again.

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
        concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {index}")
        # By its name alone, an index in another schema of the search path could go: one that all tenants
        # share.
        if schema_editor.collect_sql or _has_index(connection, model, name):
            schema_editor.execute(f"DROP INDEX {concurrently} IF EXISTS {index}")
        if field.unique:
            schema_editor.execute(f"CREATE UNIQUE INDEX {concurrently} {index} ON {table} ({column})")
            schema_editor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {index} UNIQUE USING INDEX {index}")
        else:
            schema_editor.execute(f"CREATE INDEX {concurrently} {index} ON {table} ({column})")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        pass  # it goes with the column

    def describe(self) -> str:
        return f"Build the index of {self.name} on {self.model_name}"


def _has_index(connection: Any, model: Any, name: str) -> bool:
    with connection.cursor() as cursor:
        return name in connection.introspection.get_constraints(cursor, model._meta.db_table)
