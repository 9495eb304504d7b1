"""A site whose database router keeps users and tokens in a database of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.devices import devices_of, sign_out
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.project import ADDED, Project, check

pytestmark = pytest.mark.slow

# Users are where the tokens are, because django-oauth-toolkit's foreign keys point to them.
ROUTER = """
class TokensElsewhere:
    apps = {"oauth2_provider", "oauth_binding", "auth", "contenttypes", "admin"}

    def db_for_read(self, model, **hints):
        return "tokens" if model._meta.app_label in self.apps else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (app_label in self.apps) == (db == "tokens")
"""


def test_tokens_in_a_second_database(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    project.write("routers.py", ROUTER)
    project.write_settings(
        "routed",
        "DATABASE_ROUTERS = ['routers.TokensElsewhere']",
        default=make_database(),
        tokens=make_database(),
    )

    tables = project.call("routed", migrate_all)
    assert {alias: ADDED.keys() & set(names) for alias, names in tables.items()} == {
        "default": set(),
        "tokens": ADDED.keys(),
    }
    assert "oauth_binding_tokenbinding" in set(tables["tokens"]) - set(tables["default"])

    project.call("routed", check)
    project.call("routed", use)


# What runs in the processes of the site


def migrate_all() -> dict[str, list[str]]:
    """Migrate both databases, and return their tables."""
    for alias in connections:
        call_command("migrate", database=alias, verbosity=0)
    return {alias: connections[alias].introspection.table_names() for alias in connections}


def use() -> None:
    """Issue, answer again, supersede, refresh, introspect and revoke tokens of two devices."""
    user = User.objects.create_user("alice", password=PASSWORD)
    for token_type in ("opaque", "jwt"):
        application = make_application(token_type)
        site = Site(application, user)
        phone, tablet = site.bound("phone"), site.bound("tablet")

        again = site.bound("phone")
        assert (again.access == phone.access) is (token_type == "opaque")
        assert site.active(phone.access) is (token_type == "opaque")

        refreshed = site.refresh(again.refresh)
        assert not site.active(again.access)
        assert site.introspect(refreshed.access)["binding_type"] == "client-request"
        assert site.api(refreshed.access) == 200

        assert site.revoke(refreshed.refresh).status == 200
        assert not site.active(refreshed.access)
        assert site.active(tablet.access)

        assert [device.reference for device in devices_of(user)] == [binding_reference("tablet")[:12]]
        application.token_binding_type = "none"
        application.save()
        unbound = site.token()
        for device in devices_of(user):
            sign_out(user, device)
        assert not site.active(tablet.access)
        assert not site.active(unbound.access)
