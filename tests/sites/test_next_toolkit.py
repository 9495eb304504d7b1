"""The next release of django-oauth-toolkit, and 4.0, as tests/helpers/next_toolkit.py makes them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    AbstractGrant,
    AbstractRefreshToken,
    AccessToken,
    Application,
    Grant,
    RefreshToken,
)

from oauth_binding.core.toolkit_paths import IS_BY_ROLE
from oauth_binding.models import CONTRIBUTED_FIELDS
from tests.helpers.next_toolkit import COLUMNS, MOVED, SPLIT, TABLES, THOUGHT_OF, lay_out_by_role
from tests.helpers.project import ADDED, OWN, Project, check, migrate
from tests.helpers.upgrade import ours, sign_in, use

#: What the app has added to the toolkit's tables under names of any kind. The names of new columns begin with
#: ``binding_``, so that the toolkit will hardly add the same.
OLD_NAMES = {
    "access_token_algorithm",
    "additional_grant_types",
    "binding",
    "exchange",
    "jti",
    "slot",
    "token_binding_type",
    "token_seed",
    "token_type",
}

#: The toolkit's models without what this app adds.
PLAIN = {
    Application: AbstractApplication,
    AccessToken: AbstractAccessToken,
    RefreshToken: AbstractRefreshToken,
    Grant: AbstractGrant,
}

# The first lines come before anything imports the toolkit; what is not an error is what pyproject.toml names.
SETTINGS = """
import sys
import warnings

warnings.simplefilter("error", DeprecationWarning)
warnings.filterwarnings("ignore", ".*is discouraged by RFC 9700", DeprecationWarning)
warnings.filterwarnings("ignore", "The default scheme will be changed", DeprecationWarning)
sys.path.insert(0, {directory!r})

from {settings} import *
"""

THIS_APP_FIRST = """
from today import INSTALLED_APPS

INSTALLED_APPS.remove("oauth_binding")
INSTALLED_APPS.insert(INSTALLED_APPS.index("oauth2_provider"), "oauth_binding")
"""

# No admin module is imported by itself.
WITHOUT_DISCOVERY = """
from {settings} import *
from {settings} import INSTALLED_APPS

INSTALLED_APPS[INSTALLED_APPS.index("django.contrib.admin")] = "django.contrib.admin.apps.SimpleAdminConfig"
"""

IMPORT_FIRST = """
import pkgutil

import django

django.setup()
pkgutil.resolve_name({first!r})

from django.contrib import admin
from oauth2_provider.models import Application

admin.autodiscover()
registered = type(admin.site.get_model_admin(Application))
assert registered.__module__ + "." + registered.__qualname__ == {registered!r}, registered
"""

OWN_ADMIN = """
from oauth_binding.console import BindingApplicationAdmin

class OwnApplicationAdmin(BindingApplicationAdmin):
    pass
"""

OWN_ADMIN_SETTINGS = """
from {settings} import *
from {settings} import OAUTH2_PROVIDER

OAUTH2_PROVIDER["APPLICATION_ADMIN_CLASS"] = "own_admin.OwnApplicationAdmin"
"""

CHECK_ELSEWHERE = """
import importlib
import sys

import django
from django.core.management import call_command

django.setup()
importlib.import_module({first!r})
call_command("check", fail_level="DEBUG")
importlib.import_module("example_project.resource_server.api")
assert "oauth2_provider.core" in sys.modules
assert "oauth2_provider.models" not in sys.modules
"""


@pytest.fixture
def site(project: Project, make_database: Callable[[], dict[str, Any]]) -> Project:
    """Return a site whose settings are with the installed release, with the next one, and with 4.0."""
    if IS_BY_ROLE:
        pytest.skip("The installed release is laid out by role.")
    database = make_database()
    project.write_settings("today", default=database)
    for name, with_shims in (("next", True), ("four", False)):
        directory = project.directory / f"toolkit_{name}"
        lay_out_by_role(directory, with_shims=with_shims)
        text = SETTINGS.format(directory=str(directory), settings="today")
        project.write(f"{name}.py", text)
        project.write(f"{name}_reversed.py", text + THIS_APP_FIRST)
        elsewhere = "example_project.resource_server.settings"
        project.write(f"{name}_elsewhere.py", SETTINGS.format(directory=str(directory), settings=elsewhere))
    return project


@pytest.mark.slow
@pytest.mark.parametrize("order", ["", "_reversed"])
@pytest.mark.parametrize("release", ["next", "four"])
def test_a_new_site(site: Project, release: str, order: str) -> None:
    settings = f"{release}{order}"
    site.call(settings, check_old_paths, release == "next")

    site.call(settings, migrate)

    site.call(settings, check)
    tokens = site.call(settings, sign_in)
    site.call(settings, use, tokens)
    site.call(settings, look_around_in_the_admin)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["next", "four"])
def test_a_site_upgrades(site: Project, release: str) -> None:
    before = site.call("today", migrate)
    tokens = site.call("today", sign_in)

    after = site.call(release, migrate)

    assert "jwt_access_token" in after["oauth2_provider_application"]["columns"]
    assert ours(after) == ours(before)
    site.call(release, check)
    site.call(release, use, tokens)
    site.call(release, look_around_in_the_admin)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["next", "four"])
def test_modules_of_the_admin_are_imported_in_any_order(site: Project, release: str) -> None:
    console = ["BindingApplicationAdmin", "BoundAccessTokenAdmin", "BoundRefreshTokenAdmin"]
    firsts = [f"oauth_binding.console:{name}" for name in console]
    firsts += ["oauth_binding.admin", "oauth2_provider.authorization_server.admin"]
    if release == "next":
        firsts.append("oauth2_provider.admin")
    site.write("simple.py", WITHOUT_DISCOVERY.format(settings=release))

    for first in firsts:
        program = IMPORT_FIRST.format(
            first=first, registered="oauth_binding.console.applications.BindingApplicationAdmin"
        )
        site.run("simple", "-c", program)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["next_reversed", "four_reversed", "next", "four"])
def test_a_site_derives_its_own_admin_class(site: Project, release: str) -> None:
    site.write("own_admin.py", OWN_ADMIN)
    site.write("own.py", OWN_ADMIN_SETTINGS.format(settings=release))

    site.run(
        "own", "-c", IMPORT_FIRST.format(first="oauth2_provider", registered="own_admin.OwnApplicationAdmin")
    )


@pytest.mark.slow
@pytest.mark.parametrize("release", ["next", "four"])
@pytest.mark.parametrize("first", ["rest_framework.views", "example_project.resource_server.api"])
def test_an_api_elsewhere_needs_nothing_of_the_server(site: Project, release: str, first: str) -> None:
    pytest.importorskip("rest_framework")

    site.run(f"{release}_elsewhere", "-c", CHECK_ELSEWHERE.format(first=first))


# The columns


@pytest.mark.parametrize("model", CONTRIBUTED_FIELDS)
def test_no_column_is_called_like_one_of_the_toolkit(model: type[Model]) -> None:
    fields = CONTRIBUTED_FIELDS[model]._meta.local_fields
    names = {name for field in fields for name in (field.name, field.attname, field.column)}

    # What it has, and what it is known to get.
    assert names & {*dir(PLAIN[model]), *(field.column for field in PLAIN[model]._meta.fields)} == set()
    assert names & {*COLUMNS[model.__name__], *THOUGHT_OF} == set()


@pytest.mark.parametrize("model", CONTRIBUTED_FIELDS)
def test_new_columns_begin_with_the_name_of_the_app(model: type[Model]) -> None:
    fields = CONTRIBUTED_FIELDS[model]._meta.local_fields

    assert [field.name for field in fields if not field.name.startswith("binding_")] == [
        field.name for field in fields if field.name in OLD_NAMES
    ]
    assert {field.column for field in fields} == ADDED[model._meta.db_table]


def test_no_table_is_called_like_one_of_the_toolkit() -> None:
    tables = {model._meta.db_table for model in apps.get_app_config("oauth2_provider").get_models()}

    assert {model._meta.db_table for model in apps.get_app_config("oauth_binding").get_models()} == OWN
    assert OWN & (tables | TABLES) == set()


@pytest.mark.skipif(IS_BY_ROLE, reason="The installed release is laid out by role.")
@pytest.mark.parametrize("model", PLAIN)
def test_what_is_to_come_is_not_there_yet(model: type[Model]) -> None:
    """Else the list can be shortened."""
    assert {field.name for field in PLAIN[model]._meta.fields} & COLUMNS[model.__name__].keys() == set()


# What runs in the processes of the site


def check_old_paths(have_shims: bool) -> None:
    """Fail unless the toolkit is the one that was laid out, and what has moved is as it says."""
    import oauth2_provider

    assert Path(oauth2_provider.__file__).parents[1].name.startswith("toolkit_")
    error = DeprecationWarning if have_shims else ModuleNotFoundError
    for name in [*MOVED, *SPLIT]:
        if name == "admin" and have_shims:
            importlib.import_module("oauth2_provider.admin")
        else:
            with pytest.raises(error):
                importlib.import_module(f"oauth2_provider.{name}")


def look_around_in_the_admin() -> None:
    """Open the form of an application, and the lists of tokens and devices."""
    browser = Client()
    browser.force_login(User.objects.create_superuser("operator"))
    application = Application.objects.get(name="jwt")
    pages = [
        reverse("admin:oauth2_provider_application_add"),
        reverse("admin:oauth2_provider_application_change", args=[application.pk]),
        reverse("admin:oauth2_provider_accesstoken_changelist"),
        reverse("admin:oauth2_provider_refreshtoken_changelist"),
        reverse("admin:oauth_binding_tokenbinding_changelist"),
    ]
    for page in pages:
        response = browser.get(page)
        assert response.status_code == 200, page
    assert b"token_binding_type" in browser.get(pages[1]).content
    assert b"backchannel_logout_uri" in browser.get(pages[1]).content
