"""An upgrade of django-oauth-toolkit that changes the tables which this app has widened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oauth2_provider.migrations
import pytest

from tests.helpers.project import Project, check, migrate
from tests.helpers.upgrade import ours, sign_in, use

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
