"""An upgrade of django-oauth-toolkit that changes the tables which this app has widened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oauth2_provider.migrations
import pytest
from django.contrib.auth.models import User
from oauth2_provider.models import Application

from tests.helpers.client import PASSWORD, SECRET, Site
from tests.helpers.project import ADDED, OWN, Project, check, migrate

pytestmark = pytest.mark.slow

#: A release that is yet to come, with fields and a migration under the toolkit's own label.
UPGRADE = """
INSTALLED_APPS.insert(INSTALLED_APPS.index("oauth2_provider") + 1, "next_release")
MIGRATION_MODULES = {"oauth2_provider": "next_release.toolkit_migrations"}
"""

# Another column type makes SQLite copy the table, and drop what the copy does not have.
MODELS = """
from django.db import models
from oauth2_provider.models import AccessToken, Application, RefreshToken

CHANGED = {Application: "name", AccessToken: "token_checksum", RefreshToken: "token_checksum"}

for model, name in CHANGED.items():
    model.add_to_class("note", models.CharField(max_length=20, null=True, db_index=True))
    model._meta.get_field(name).max_length = 200
"""

MIGRATION = """
from django.db import migrations
from next_release.models import CHANGED

class Migration(migrations.Migration):
    dependencies = [("oauth2_provider", {last!r})]
    operations = [
        operation
        for model, name in CHANGED.items()
        for operation in (
            migrations.AddField(model.__name__, "note", model._meta.get_field("note").clone()),
            migrations.AlterField(model.__name__, name, model._meta.get_field(name).clone()),
        )
    ]
"""


@pytest.fixture
def site(project: Project, make_database: Callable[[], dict[str, Any]]) -> Project:
    """Return a site whose settings are with and without this app, before and after the upgrade."""
    database = make_database()
    project.write_settings("bound", default=database)
    project.write_settings("bound_upgraded", UPGRADE, default=database)
    project.write_settings_without_binding("plain_upgraded", "bound_upgraded")

    migrations = project.directory / "next_release" / "toolkit_migrations"
    shutil.copytree(Path(oauth2_provider.migrations.__file__).parent, migrations)
    last = max(migrations.glob("0*.py")).stem
    project.write("next_release/models.py", MODELS)
    project.write("next_release/toolkit_migrations/9999_next_release.py", MIGRATION.format(last=last))
    return project


def test_a_site_that_has_upgraded_adds_the_app(site: Project) -> None:
    site.call("plain_upgraded", migrate)

    site.call("bound_upgraded", migrate)

    site.call("bound_upgraded", check)
    site.call("bound_upgraded", use, site.call("bound_upgraded", sign_in))


def test_a_site_that_has_the_app_upgrades(site: Project) -> None:
    before = site.call("bound", migrate)
    tokens = site.call("bound", sign_in)

    after = site.call("bound_upgraded", migrate)

    assert "note" in after["oauth2_provider_accesstoken"]["columns"]
    assert ours(after) == ours(before)
    site.call("bound_upgraded", check)
    site.call("bound_upgraded", use, tokens)


def ours(schema: dict[str, Any]) -> list[Any]:
    """Return what the app has added to a schema."""
    return [
        [schema[table] for table in sorted(OWN)],
        [(table, name, schema[table]["columns"][name]) for table in ADDED for name in sorted(ADDED[table])],
        [
            (table, constraint)
            for table in ADDED
            for constraint in schema[table]["constraints"]
            if any(repr(name) in constraint for name in ADDED[table])
        ],
    ]


# What runs in the processes of the site


def client(token_type: str) -> Site:
    return Site(Application.objects.get(name=token_type), User.objects.get())


def sign_in() -> dict[str, Any]:
    """Make a user and applications, and return a token pair of a phone for each."""
    User.objects.create_user("alice", password=PASSWORD)
    for token_type in ("opaque", "jwt"):
        Application.objects.create(
            name=token_type,
            client_type="confidential",
            authorization_grant_type="password",
            client_secret=SECRET,
            hash_client_secret=False,
            algorithm="RS256",
            token_type=token_type,
            token_binding_type="client-request",
        )
    return {token_type: client(token_type).bound("phone").data for token_type in ("opaque", "jwt")}


def use(tokens: dict[str, Any]) -> None:
    """Go on with the pairs of the phone, and sign in with a tablet."""
    opaque = client("opaque")
    again = opaque.bound("phone")
    assert again.access == tokens["opaque"]["access_token"]
    assert again.refresh == tokens["opaque"]["refresh_token"]

    for token_type, pair in tokens.items():
        site = client(token_type)
        tablet = site.bound("tablet")
        refreshed = site.refresh(pair["refresh_token"])
        assert site.introspect(refreshed.access)["binding_type"] == "client-request"
        assert not site.active(pair["access_token"])
        assert site.api(refreshed.access) == site.api(tablet.access) == 200
        assert site.revoke(tablet.refresh).status == 200
        assert site.api(tablet.access) in (401, 403)

    jwt = client("jwt")
    superseded = jwt.bound("phone")
    newest = jwt.bound("phone")
    assert [jwt.active(answer.access) for answer in (superseded, newest)] == [False, True]
