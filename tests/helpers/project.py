"""A Django site in a directory of its own, in whose processes the tests call functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection, connections

ROOT = Path(__file__).resolve().parents[2]

#: What the app adds to the tables of django-oauth-toolkit.
ADDED = {
    "oauth2_provider_application": {
        "token_type",
        "access_token_algorithm",
        "token_binding_type",
        "additional_grant_types",
    },
    "oauth2_provider_accesstoken": {
        *(
            "binding_id",
            "slot",
            "token_seed",
            "exchange_id",
            "jti",
            "binding_may_act",
            "binding_confirmation",
        ),
        "binding_login_started",
        "binding_session_id",
    },
    "oauth2_provider_refreshtoken": {
        *("binding_id", "token_seed", "exchange_id", "binding_confirmation"),
        *("binding_login_started", "binding_session_id"),
    },
}

#: Its own tables.
OWN = {
    "oauth_binding_codecontext",
    "oauth_binding_loginsession",
    "oauth_binding_loginsessionclient",
    "oauth_binding_logoutnotification",
    "oauth_binding_revokedtoken",
    "oauth_binding_tokenbinding",
    "oauth_binding_tokenexchange",
    "oauth_binding_tokenexchangerule",
    "oauth_binding_tokenpolicy",
    "oauth_binding_usedproof",
}

# Collecting the garbage of migrations takes longer than the processes live.
_ANSWER_CALLS = """
import gc, importlib, json, sys
gc.disable()
import django
django.setup()
for line in sys.stdin:
    module, name, arguments = json.loads(line)
    function = getattr(importlib.import_module(module), name)
    print("\\nreturned " + json.dumps(function(*arguments)), flush=True)
gc.freeze()
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
ROOT_URLCONF = "tests.sites.plain_urls"
"""


@dataclass
class Project:
    """A directory with settings modules, each of which is a state of the site."""

    directory: Path
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

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

    def run(self, settings: str, *arguments: str, **environment: str) -> None:
        """Run Python with a settings module.

        :raises AssertionError: it failed; what it printed is the message.
        """
        process = self.start(settings, *arguments, **environment)
        output, _ = process.communicate()
        assert process.returncode == 0, output

    def call(self, settings: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a test module in the process of a settings module; what goes in and out is JSON.

        The first call starts the process, ``end`` ends it.

        :raises AssertionError: it failed; what it printed is the message.
        """
        if settings not in self.processes:
            self.processes[settings] = self.start(settings, "-c", _ANSWER_CALLS)
        process = self.processes[settings]
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([function.__module__, function.__name__, arguments]) + "\n")
        process.stdin.flush()
        output = ""
        for line in process.stdout:
            if line.startswith("returned "):
                return json.loads(line.removeprefix("returned "))
            output += line
        raise AssertionError(output)

    def end(self) -> None:
        """End the processes."""
        for process in self.processes.values():
            process.communicate()

    def start(self, settings: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start Python with a settings module; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings,
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


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
