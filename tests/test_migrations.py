"""Installing and removing the app, on new and on live sites with django-oauth-toolkit's own models."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tests.project import Project

SETTINGS = """
import oauth_binding
SECRET_KEY = "of a site that nobody visits"
USE_TZ = True
DATABASES = {{"default": {database!r}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", *{apps!r}]
if "oauth_binding" in INSTALLED_APPS:
    OAUTH2_PROVIDER = oauth_binding.OAUTH2_PROVIDER_ENTRIES
"""

#: settings module -> the apps in question, in their order
SITES = {
    "plain": ["oauth2_provider"],
    "bound": ["oauth2_provider", "oauth_binding"],
    "bound_reversed": ["oauth_binding", "oauth2_provider"],
}

#: What the app adds to the tables of django-oauth-toolkit.
ADDED = {
    "oauth2_provider_application": {"token_type", "token_binding_type", "require_binding"},
    "oauth2_provider_accesstoken": {"binding_id", "slot", "token_seed"},
    "oauth2_provider_refreshtoken": {"binding_id", "token_seed"},
}


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """Make an empty database on the server that the suite runs on."""
    if connection.vendor == "sqlite":
        # Nothing here has to survive a power cut.
        options = {**connection.settings_dict["OPTIONS"], "init_command": "PRAGMA synchronous = OFF"}
        yield {**connection.settings_dict, "NAME": str(tmp_path / "site.sqlite3"), "OPTIONS": options}
        return
    name = f"oauth_binding_{secrets.token_hex(8)}"
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield {**connection.settings_dict, "NAME": name}
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def project(tmp_path: Path, database: dict[str, Any]) -> Project:
    project = Project(tmp_path)
    for name, apps in SITES.items():
        project.write(f"{name}.py", SETTINGS.format(database=database, apps=apps))
    return project


@pytest.mark.parametrize("site", ["bound", "bound_reversed"])
def test_a_new_site_that_removes_the_app_later(project: Project, site: str) -> None:
    project.call(site, install_and_bind)

    assert project.call("plain", use_and_delete) == [0, 0, 0, 0]


def test_a_live_site(project: Project) -> None:
    before = project.call("plain", start)
    installed = project.call("bound", install)

    assert installed["rows"] == [
        ["alice", "opaque", "none", False],
        ["alice access", "alice", None, None, None],
        ["alice refresh", "alice access", None, None],
    ]
    assert installed["schema"].keys() - before.keys() == {"oauth_binding_tokenbinding"}
    added = {
        table: installed["schema"][table]["columns"].keys() - before[table]["columns"].keys()
        for table in before
    }
    assert {table: columns for table, columns in added.items() if columns} == ADDED

    assert project.call("bound", uninstall) == before


def test_sqlmigrate(project: Project) -> None:
    sql = project.call("bound", sqlmigrate)

    assert [column for column in set().union(*ADDED.values()) if column not in sql] == []


# What runs in the process of a site. Models are imported there.


def start() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    create_pair("alice")
    return schema()


def install() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True)
    call_command("check", databases=["default"], fail_level="DEBUG")
    return {"schema": schema(), "rows": rows()}


def uninstall() -> dict[str, Any]:
    call_command("migrate", "oauth_binding", "zero", verbosity=0)
    return schema()


def sqlmigrate() -> str:
    sql: str = call_command("sqlmigrate", "oauth_binding", "0001", no_color=True)
    return sql


def schema() -> dict[str, Any]:
    """Return columns and constraints by table."""
    introspection = connection.introspection
    with connection.cursor() as cursor:
        return {
            table: {
                "columns": {
                    column.name: [
                        introspection.get_field_type(column.type_code, column),
                        column.null_ok,
                        column.default,
                    ]
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


def rows() -> list[Any]:
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    return [
        *Application.objects.values_list("name", "token_type", "token_binding_type", "require_binding"),
        *AccessToken.objects.values_list("token", "user__username", "binding", "slot", "token_seed"),
        *RefreshToken.objects.values_list("token", "access_token__token", "binding", "token_seed"),
    ]


def create_pair(name: str) -> None:
    """Create a user, an application, and a token pair of both."""
    from django.contrib.auth.models import User
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    user = User.objects.create_user(name)
    application = Application.objects.create(
        name=name, client_type="confidential", authorization_grant_type="password"
    )
    access = AccessToken.objects.create(
        user=user, application=application, token=f"{name} access", expires=timezone.now()
    )
    RefreshToken.objects.create(
        user=user, application=application, token=f"{name} refresh", access_token=access
    )


def install_and_bind() -> None:
    from oauth2_provider.models import AccessToken, RefreshToken

    from oauth_binding.models import TokenBinding

    install()
    for name in ("alice", "bob", "carol"):
        create_pair(name)
        access = AccessToken.objects.get(user__username=name)
        binding = TokenBinding.objects.create(
            application=access.application, user=access.user, binding_type="client-request", key=name
        )
        AccessToken.objects.filter(pk=access.pk).update(binding=binding, slot=name)
        RefreshToken.objects.filter(access_token=access).update(binding=binding)


def use_and_delete() -> list[int]:
    """Do what a site does with its tokens, delete all, and return how many rows are left of each model."""
    from django.contrib.auth.models import User
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    create_pair("dave")
    AccessToken.objects.get(user__username="alice").delete()
    RefreshToken.objects.get(user__username="alice").revoke()
    Application.objects.get(name="bob").delete()
    User.objects.all().delete()
    Application.objects.all().delete()
    return [model.objects.count() for model in (User, Application, AccessToken, RefreshToken)]
