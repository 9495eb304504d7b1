"""A site with django-tenants: each tenant has a schema of its own, which is made by this app's migrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from oauth2_provider.models import AccessToken

from oauth_binding.devices import sign_out_everywhere
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.project import Project, schema

pytest.importorskip("django_tenants", reason="it comes with the dev extra")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="tenants are schemas of PostgreSQL"),
]

SETTINGS = """
TENANT_APPS = [app for app in INSTALLED_APPS if app.startswith(("django.contrib.", "oauth"))]
INSTALLED_APPS = ["django_tenants", *INSTALLED_APPS, "tests.sites.tenants"]
SHARED_APPS = INSTALLED_APPS
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]
"""


def test_tenants(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    project.write_settings(
        "tenanted", "from tests.settings import MIDDLEWARE", SETTINGS, default=make_database()
    )

    shared = project.call("tenanted", migrate_shared)
    outside = project.call("tenanted", make_tenant, "outside", False)
    inside = project.call("tenanted", make_tenant, "inside", True)

    assert "oauth2_provider_accesstoken" in outside
    assert inside == outside
    # Indexes have the same names in all schemas: making a tenant has left alone those of what all share.
    assert project.call("tenanted", schema) == shared

    project.call("tenanted", check_all)
    project.call("tenanted", use)


# What runs in the processes of the site


def migrate_shared() -> dict[str, Any]:
    call_command("migrate_schemas", shared=True, verbosity=0)
    return schema()


def make_tenant(name: str, in_transaction: bool) -> dict[str, Any]:
    """Make a tenant as an ordinary request makes it, or one with ATOMIC_REQUESTS; and return its schema."""
    from django_tenants.utils import schema_context

    from tests.sites.tenants.models import Domain, Tenant

    def make() -> None:
        tenant = Tenant(schema_name=name)
        tenant.save(verbosity=0)
        Domain.objects.create(tenant=tenant, domain=f"{name}.example")

    if in_transaction:
        with transaction.atomic():
            make()
    else:
        make()
    with schema_context(name):
        return schema()


def check_all() -> None:
    from django_tenants.utils import schema_context

    for name in ("public", "outside", "inside"):
        with schema_context(name):
            call_command("check", databases=["default"], fail_level="ERROR")
    call_command("makemigrations", "oauth_binding", "oauth2_provider", check=True, dry_run=True, verbosity=0)


def use() -> None:
    """Sign the same device of the same user in at the same application of two tenants, and out at one."""
    from django_tenants.utils import schema_context

    sites: dict[str, dict[str, Site]] = {}
    for name in ("outside", "inside"):
        with schema_context(name):
            user = User.objects.create_user("alice", password=PASSWORD)
            sites[name] = {
                token_type: Site(
                    make_application(token_type, client_id=token_type),
                    user,
                    http=Client(SERVER_NAME=f"{name}.example"),
                )
                for token_type in ("opaque", "jwt")
            }
    here, there = sites["outside"], sites["inside"]
    for token_type in ("opaque", "jwt"):
        site, other = here[token_type], there[token_type]
        first, other_first = site.bound("phone"), other.bound("phone")
        assert (site.bound("phone").access == first.access) is (token_type == "opaque")
        refreshed = site.refresh(site.bound("phone").refresh)
        other_refreshed = other.refresh(other_first.refresh)

        assert site.api(refreshed.access) == other.api(other_refreshed.access) == 200
        assert site.api(other_refreshed.access) == other.api(refreshed.access) == 401
        assert not site.active(other_refreshed.access)
        assert site.refresh(other_refreshed.refresh)["error"] == "invalid_grant"
        assert other.revoke(refreshed.refresh).status == 200
        assert site.active(refreshed.access)

    with schema_context("inside"):
        sign_out_everywhere(User.objects.get())
        assert not AccessToken.objects.filter(slot__isnull=False).exists()
    assert site.active(refreshed.access)
    assert not other.active(other_refreshed.access)
    with schema_context("outside"):
        call_command("clearbindings", verbosity=0)
    assert site.active(refreshed.access)
