"""A site whose applications had two booleans: their token policies demand the same after the upgrade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import connection
from oauth2_provider.models import get_application_model

from tests.helpers.client import PASSWORD, SECRET, Site, create_application
from tests.helpers.project import Project, check, migrate

pytestmark = pytest.mark.slow

BEFORE: Final = ("oauth_binding", "0018")

DEMANDS: Final = ("require_binding", "require_presented_binding")

#: More than one batch.
MANY: Final = 600

#: Applications, by what they demand: a binding, and that APIs are told of it.
APPLICATIONS: Final = {
    "neither": (False, False),
    "id": (True, False),
    "id at APIs": (False, True),
    "both": (True, True),
    "both, with proofs": (True, True),
    **{f"id {number}": (True, False) for number in range(MANY)},
}

SWAPPED: Final = [
    "INSTALLED_APPS.append('swapped')",
    "OAUTH2_PROVIDER_APPLICATION_MODEL = 'swapped.Application'",
]

#: models.py of such a site, with another type of primary key, and then what stands in it before the upgrade.
MODELS: Final = """
import uuid

from django.db import models
from {app}.models import {base}


class Application({base}):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
"""
FIELDS: Final = "".join(
    f"    {name} = models.BooleanField(default=False, db_default=False)\n" for name in DEMANDS
)


def test_a_site_with_the_toolkits_applications(
    project: Project, make_database: Callable[[], dict[str, Any]]
) -> None:
    project.write_settings("bound", default=make_database())
    project.call("bound", migrate)
    before = project.call("bound", migrate, *BEFORE)
    project.call("bound", make_applications)

    project.call("bound", migrate)

    project.call("bound", check)
    assert project.call("bound", steps) == after_the_upgrade()
    project.call("bound", use)

    project.call("bound", report_an_id)
    assert project.call("bound", migrate, *BEFORE) == before
    assert project.call("bound", booleans) == {
        **{name: list(demands) for name, demands in APPLICATIONS.items()},
        "id": [False, False],  # what is only reported was not to be had
    }


def test_a_site_with_applications_of_its_own(
    project: Project, make_database: Callable[[], dict[str, Any]]
) -> None:
    project.write_settings("bound", *SWAPPED, default=make_database())
    project.write_settings_without_binding("plain", "bound")
    project.write("swapped/migrations/__init__.py", "")

    def make_migrations(settings: str, models: str, *dependencies: tuple[str, str]) -> None:
        """Make the next migration of the site, and say what it goes by."""
        project.write("swapped/models.py", models)
        present = set((project.directory / "swapped/migrations").glob("0*.py"))
        project.run(settings, "-m", "django", "makemigrations", "swapped")
        (made,) = set((project.directory / "swapped/migrations").glob("0*.py")) - present
        name = "run_before" if not present else "dependencies"
        made.write_text(f"{made.read_text()}\n    {name} = {[*dependencies]!r}\n")

    toolkit = MODELS.format(app="oauth2_provider", base="AbstractApplication")
    ours = MODELS.format(app="oauth_binding", base="BoundApplication")
    make_migrations("plain", toolkit, ("oauth2_provider", "0001_initial"))
    first = next((project.directory / "swapped/migrations").glob("0001*.py")).stem
    make_migrations(
        "bound",
        ours + FIELDS,
        ("swapped", first),
        ("oauth_binding", "0011_application_access_token_algorithm"),
    )
    project.call("bound", migrate, "auth")
    project.call("bound", migrate, *BEFORE)
    project.call("bound", migrate, "swapped")
    project.call("bound", make_applications)
    project.end()
    project.processes.clear()
    second = next((project.directory / "swapped/migrations").glob("0002*.py")).stem

    # The upgrade, as the page on existing sites has it.
    make_migrations("bound", ours, ("swapped", second), ("oauth_binding", "0024_demands"))
    project.call("bound", migrate)

    project.call("bound", check)
    assert project.call("bound", steps) == after_the_upgrade()
    project.call("bound", use)

    project.call("bound", migrate, *BEFORE)
    assert project.call("bound", booleans) == {name: list(each) for name, each in APPLICATIONS.items()}


def after_the_upgrade() -> dict[str, list[str]]:
    """Return what the policies are to be, by application; who demands nothing has none."""
    words = {True: "yes", False: "no"}
    return {
        name: [
            *(words[demand] for demand in demands),
            *(("dpop", "yes") if name == "both, with proofs" else ("none", "no")),
        ]
        for name, demands in APPLICATIONS.items()
        if any(demands)
    }


# What runs in the processes of the site


def quote(*names: str) -> list[str]:
    return [connection.ops.quote_name(name) for name in names]


def make_applications() -> None:
    """Make applications as they were before: the models know nothing of the booleans any more."""
    model = get_application_model()
    User.objects.create_user("alice", password=PASSWORD)
    made = [
        create_application(
            name=name,
            client_type="confidential",
            authorization_grant_type="password",
            client_secret=SECRET,
            hash_client_secret=False,
            token_binding_type="client-request",
        )
        for name in APPLICATIONS
    ]
    table, binding, presented, key = quote(model._meta.db_table, *DEMANDS, model._meta.pk.column)
    with connection.cursor() as cursor:
        for application in made:
            pk = model._meta.pk.get_db_prep_value(application.pk, connection)
            cursor.execute(
                f"UPDATE {table} SET {binding} = %s, {presented} = %s WHERE {key} = %s",
                [*APPLICATIONS[application.name], pk],
            )
            if application.name == "both, with proofs":
                policies, *columns = quote(
                    "oauth_binding_tokenpolicy",
                    *("application_id", "sender_constraint", "require_sender_constraint"),
                )
                cursor.execute(
                    f"INSERT INTO {policies} ({', '.join(columns)}) VALUES (%s, 'dpop', 'yes')", [pk]
                )


def steps() -> dict[str, list[str]]:
    """Return what the token policies demand, by application."""
    from oauth_binding.models import TokenPolicy

    names = ("application__name", *DEMANDS, "sender_constraint", "require_sender_constraint")
    return {name: values for name, *values in TokenPolicy.objects.values_list(*names)}


def report_an_id() -> None:
    from oauth_binding.models import TokenPolicy

    TokenPolicy.objects.filter(application__name="id").update(require_binding="report")


def booleans() -> dict[str, list[bool]]:
    """Return what the columns say that are there no more."""
    table, *columns = quote(get_application_model()._meta.db_table, "name", *DEMANDS)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")
        return {name: [bool(each) for each in demands] for name, *demands in cursor.fetchall()}


def use() -> None:
    """Find the demands at the doors."""
    user = User.objects.get()
    sites = {each.name: Site(each, user) for each in get_application_model().objects.all()}
    assert sites["neither"].bound(None).status == 200
    assert sites["id"].bound(None).status == 400
    assert sites["id at APIs"].api(sites["id at APIs"].bound("phone").access) == 401
    assert sites["id"].api(sites["id"].bound("phone").access) == 200
