from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models.expressions import RawSQL
from oauth2_provider.settings import oauth2_settings

from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.migration_operations import InApp

DEMANDS: Final = ("require_binding", "require_presented_binding")


def demand_field(verbose_name: str, help_text: str) -> models.CharField[str, str]:
    return models.CharField(
        choices=[("no", "No"), ("report", "Report what would be refused"), ("yes", "Yes")],
        db_default="no",
        default="no",
        help_text=help_text,
        max_length=16,
        verbose_name=verbose_name,
    )


def booleans(schema_editor: BaseDatabaseSchemaEditor, applications: Any) -> Iterator[str]:
    """Yield which of the booleans are columns of the applications' table.

    Those of a site's own model come and go with its own migrations.
    """
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, applications._meta.db_table)
    yield from (name for name in DEMANDS if name in {column.name for column in found})


def to_policies(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let the policies demand what the applications do."""
    using = schema_editor.connection.alias
    applications = apps.get_model(oauth2_settings.APPLICATION_MODEL)
    policies = apps.get_model("oauth_binding", "TokenPolicy")._base_manager.using(using)
    for name in booleans(schema_editor, applications):
        column = RawSQL(schema_editor.quote_name(name), (), models.BooleanField())  # noqa: S611 - one of DEMANDS
        demanding = applications._base_manager.using(using).filter(column).values_list("pk", flat=True)
        for chunk in in_chunks(demanding):
            there = policies.filter(application__in=chunk)
            present = set(there.values_list("application", flat=True))
            there.update(**{name: "yes"})
            policies.bulk_create(
                policies.model(application_id=pk, **{name: "yes"}) for pk in chunk if pk not in present
            )


def to_applications(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let the applications demand what their policies do; what is only reported is not demanded."""
    connection = schema_editor.connection
    applications = apps.get_model(oauth2_settings.APPLICATION_MODEL)
    policies = apps.get_model("oauth_binding", "TokenPolicy")._base_manager.using(connection.alias)
    key = applications._meta.pk
    quote = schema_editor.quote_name
    for name in booleans(schema_editor, applications):
        demanding = policies.filter(**{name: "yes"}).values_list("application", flat=True)
        for chunk in in_chunks(demanding):
            places = ", ".join(["%s"] * len(chunk))
            statement = (
                f"UPDATE {quote(applications._meta.db_table)} SET {quote(name)} = %s"  # noqa: S608
                f" WHERE {quote(key.column)} IN ({places})"
            )
            with connection.cursor() as cursor:
                cursor.execute(statement, [True, *(key.get_db_prep_value(pk, connection) for pk in chunk)])


class Migration(migrations.Migration):
    dependencies = [
        ("oauth_binding", "0023_device_limit"),
        migrations.swappable_dependency(oauth2_settings.APPLICATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            "tokenpolicy",
            "require_binding",
            demand_field("require a binding", "What becomes of token requests that name no binding"),
        ),
        migrations.AddField(
            "tokenpolicy",
            "require_presented_binding",
            demand_field(
                "require the binding at APIs",
                "What becomes of API requests that do not name what their token is bound to",
            ),
        ),
        migrations.AddField(
            "tokenbinding",
            "binding_missed",
            models.DateTimeField(editable=False, null=True, verbose_name="last request without a binding"),
        ),
        migrations.AddField(
            "tokenbinding",
            "presented_binding_missed",
            models.DateTimeField(editable=False, null=True, verbose_name="last API call without the binding"),
        ),
        migrations.RunPython(to_policies, to_applications),
        *(InApp("oauth2_provider", migrations.RemoveField("application", name)) for name in DEMANDS),
    ]
