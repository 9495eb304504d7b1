"""A Django site in a directory of its own, in whose processes the tests call functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection, connections

ROOT = Path(__file__).resolve().parent.parent

#: What the app adds to the tables of django-oauth-toolkit.
ADDED = {
    "oauth2_provider_application": {"token_type", "token_binding_type", "require_binding"},
    "oauth2_provider_accesstoken": {"binding_id", "slot", "token_seed"},
    "oauth2_provider_refreshtoken": {"binding_id", "token_seed"},
}

_CALL = """
import importlib, json, sys
import django
django.setup()
function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
sys.stdout.write("\\n" + json.dumps(function(*json.loads(sys.argv[3]))))
"""

_SETTINGS = """
from tests.settings import *
from tests.settings import INSTALLED_APPS, OAUTH2_PROVIDER

DATABASES = {databases!r}
"""

_WITHOUT_BINDING = """
from {settings} import *
from {settings} import INSTALLED_APPS, OAUTH2_PROVIDER
from oauth_binding import OAUTH2_PROVIDER_ENTRIES

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "oauth_binding"]
OAUTH2_PROVIDER = {{
    entry: value for entry, value in OAUTH2_PROVIDER.items() if entry not in OAUTH2_PROVIDER_ENTRIES
}}
ROOT_URLCONF = "tests.plain_urls"
"""


@dataclass
class Project:
    """A directory with settings modules, each of which is a state of the site."""

    directory: Path

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_settings(self, name: str, *lines: str, **databases: dict[str, Any]) -> None:
        """Write a settings module of a site like the suite's, but with databases of its own."""
        self.write(f"{name}.py", _SETTINGS.format(databases=databases) + "\n".join(lines))

    def write_settings_without_binding(self, name: str, settings: str) -> None:
        """Write the settings module of the same site with django-oauth-toolkit alone."""
        self.write(f"{name}.py", _WITHOUT_BINDING.format(settings=settings))

    def run(self, settings: str, *arguments: str, **environment: str) -> str:
        """Run Python with a settings module, and return what it printed.

        :raises AssertionError: it failed; what it printed is the message.
        """
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings,
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def call(self, settings: str, function: Callable[..., Any], *arguments: Any, **environment: str) -> Any:
        """Call a function of a test module in a process of the site; what goes in and out is JSON."""
        name = (function.__module__, function.__name__)
        output = self.run(settings, "-c", _CALL, *name, json.dumps(arguments), **environment)
        return json.loads(output.splitlines()[-1])


# What tests of several sites call in their processes.


def migrate(*arguments: str) -> dict[str, Any]:
    """Migrate, and return the schema."""
    call_command("migrate", *arguments, verbosity=0)
    return schema()


def check() -> None:
    """Fail unless all is well with the site: its settings, migrations and tables."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    call_command("check", databases=list(connections), fail_level="DEBUG")


def schema() -> dict[str, Any]:
    """Return the columns, indexes and constraints of the database, by table."""
    introspection = connection.introspection

    def describe(column: Any) -> list[Any]:
        kind = introspection.get_field_type(column.type_code, column)
        # MariaDB tells for other types how long the longest value is.
        size = column.display_size if kind == "CharField" else None
        return [kind, size, column.null_ok, column.default]

    with connection.cursor() as cursor:
        return {
            table: {
                "columns": {
                    column.name: describe(column)
                    for column in introspection.get_table_description(cursor, table)
                },
                "constraints": sorted(
                    f"{list(found['columns'])} {found['primary_key']} {found['unique']} "
                    f"{found['foreign_key']} {found['index']} {found['check']}"
                    for found in introspection.get_constraints(cursor, table).values()
                ),
            }
            for table in introspection.table_names(cursor)
        }
