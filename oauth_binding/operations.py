"""A migration operation that acts on another app."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
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
