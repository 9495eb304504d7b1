"""Asking the database about the applications, from checks that also run where there is no database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections
from oauth2_provider.models import get_application_model

from oauth_binding.checks.database import unknown_databases
from oauth_binding.checks.models import migrated_models
from oauth_binding.core.databases import write_alias
from oauth_binding.models import TokenPolicy

#: How many applications a message names.
MAX_NAMED: Final = 3


class DatabaseOutOfReachError(Exception):
    """The database can't be asked, for instance while images are built."""


def get_applications() -> Any:
    """Return the applications, or None if there is no table with this app's fields yet.

    :raises DatabaseOutOfReachError: it says which database, and the class of the error.
    """
    if unknown_databases():
        return None  # E030
    model = get_application_model()
    alias = write_alias(model)
    try:
        with connections[alias].cursor():
            pass
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        raise DatabaseOutOfReachError(
            f"the database {alias!r} can't be queried ({type(error).__name__})"
        ) from error
    except (RuntimeError, AssertionError):
        return None  # pytest-django and SimpleTestCase keep a test from the database
    # "migrate" checks before it makes the columns, also where it was interrupted.
    is_migrated = (
        has_columns(alias, TokenPolicy)
        and has_columns(alias, model)
        and model in dict(migrated_models(alias))
    )
    return model.objects.using(alias) if is_migrated else None


def has_columns(alias: str, model: Any) -> bool:
    """Return whether a model's table is there, with all its columns."""
    introspection = connections[alias].introspection
    with connections[alias].cursor() as cursor:
        if model._meta.db_table not in introspection.table_names(cursor):
            return False
        found = introspection.get_table_description(cursor, model._meta.db_table)
    return {field.column for field in model._meta.concrete_fields} <= {column.name for column in found}


def named(client_ids: Sequence[str]) -> str:
    """Return what a message says of some applications: the ids of the first, and whether there are more."""
    first = ", ".join(repr(client_id) for client_id in client_ids[:MAX_NAMED])
    return first if len(client_ids) <= MAX_NAMED else f"{first} and more"
