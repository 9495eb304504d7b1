"""A live site with django-oauth-toolkit adopts the app, uses it, and gives it up again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import oauthlib
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, models
from oauth2_provider.models import (
    AccessToken,
    Application,
    DeviceCodeResponse,
    DeviceRequest,
    Grant,
    RefreshToken,
    create_device_grant,
)

import oauth_binding.migrations
from tests.helpers.client import GRANTS, PASSWORD, REDIRECT_URI, SECRET, Site, is_jwt
from tests.helpers.project import ADDED, OWN, Project, check, migrate, schema
from tests.helpers.upgrade import ours

pytestmark = pytest.mark.slow

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"

# With oauthlib 4, django-oauth-toolkit alone has no device grant.
PLAIN_GRANTS = [grant for grant in GRANTS if grant != DEVICE or oauthlib.__version__.startswith("3.")]

REVERSED = """
INSTALLED_APPS.remove("oauth_binding")
INSTALLED_APPS.insert(INSTALLED_APPS.index("oauth2_provider"), "oauth_binding")
"""

#: Without migrations Django makes the tables of the models as they are.
UNMIGRATED = """
class NoMigrations:
    def __contains__(self, app_label):
        return True

    def __getitem__(self, app_label):
        return None

MIGRATION_MODULES = NoMigrations()
"""


@pytest.mark.django_db(transaction=True)
def test_sqlmigrate() -> None:
    migrations = Path(oauth_binding.migrations.__file__).parent
    names = sorted(path.name[:4] for path in migrations.glob("0*.py"))
    sql = "\n".join(call_command("sqlmigrate", "oauth_binding", name, no_color=True) for name in names)

    assert [column for column in set().union(*ADDED.values()) if column not in sql] == []


def test_the_tables_are_those_of_the_models(
    project: Project, make_database: Callable[[], dict[str, Any]]
) -> None:
    """What is put together by hand for large tables is what Django makes of the fields in small ones."""
    project.write_settings("bound", default=make_database())
    project.write_settings("unmigrated", UNMIGRATED, default=make_database())

    migrated = project.call("bound", migrate)

    made = project.call("unmigrated", migrate, "--run-syncdb")
    if connection.vendor == "postgresql":
        # Django's second index for LIKE; slots are looked up as they are.
        slot = made["oauth2_provider_accesstoken"]["constraints"]
        slot.remove("['slot'] False False None True False")
    assert ours(migrated) == ours(made)


def test_a_live_site(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    project.write_settings("bound", default=make_database())
    project.write_settings_without_binding("plain", "bound")
    project.write_settings("new", REVERSED, default=make_database())

    # The site as it was.
    before = project.call("plain", migrate)
    tokens = project.call("plain", use_for_a_while)

    # The tables are widened under the processes that are up. Those know nothing of the app.
    project.call("plain", work_while_migrating, "bound")
    adopted = project.call("bound", schema)
    assert adopted.keys() - before.keys() == OWN
    assert added_columns(before, adopted) == ADDED

    # The tables are those of a new site, in whichever order that lists the apps.
    assert adopted == project.call("new", migrate)
    project.call("new", check)

    # The new processes come up. Nobody has to sign in again, and no revoked token comes back to life.
    project.call("bound", check)
    project.call("bound", go_on, tokens)
    bound_tokens = project.call("bound", opt_in)

    # The app is taken out of the settings, its columns stay.
    project.call("plain", work_without_the_app, bound_tokens)
    left = project.call("plain", delete_this_and_that)

    # The columns go, too, and nothing else.
    assert project.call("bound", migrate, "oauth_binding", "zero") == before
    assert project.call("plain", rows) == left
    project.call("plain", work, ["password", "client_credentials"])


def added_columns(before: dict[str, Any], after: dict[str, Any]) -> dict[str, set[str]]:
    added = {table: after[table]["columns"].keys() - before[table]["columns"].keys() for table in before}
    return {table: columns for table, columns in added.items() if columns}


# What runs in the processes of the site


def client(grant_type: str, username: str = "alice") -> Site:
    """Return the client application of a grant type, used by somebody."""
    return Site(Application.objects.get(name=grant_type), User.objects.get(username=username))


def use_for_a_while() -> dict[str, Any]:
    """Make users, applications and tokens of every kind, and return the tokens."""
    for username in ("alice", "bob", "carol"):
        User.objects.create_user(username, password=PASSWORD)
    for name, grant_type in GRANTS.items():
        Application.objects.create(
            name=name,
            client_type="confidential",
            authorization_grant_type=grant_type,
            client_secret=SECRET,
            hash_client_secret=False,
            redirect_uris=REDIRECT_URI,
            algorithm="RS256",
        )
    with_code = client("authorization_code")

    issued = [(grant, client(grant).token(scope="read")) for grant in PLAIN_GRANTS]
    issued.append(("authorization_code", with_code.token(scope="openid read")))
    rotated = [(grant, answer.refresh) for grant, answer in issued if "refresh_token" in answer.data]
    issued = [
        (grant, client(grant).refresh(answer.refresh) if "refresh_token" in answer.data else answer)
        for grant, answer in issued
    ]
    issued += [(grant, client(grant).token()) for grant in PLAIN_GRANTS]
    return {
        "access": [(grant, answer.access) for grant, answer in issued],
        "refresh": [(grant, answer.refresh) for grant, answer in issued if "refresh_token" in answer.data],
        "rotated": rotated,
        "code": with_code.authorization_code(scope="openid read"),
        "device": pending_device(),
    }


def pending_device() -> dict[str, Any]:
    """Start a device flow, which the user has yet to accept."""
    device = client(DEVICE)
    if DEVICE in PLAIN_GRANTS:
        return device.start_device().data
    codes: dict[str, Any] = {"device_code": "of a device", "user_code": "ABCDEFGH"}
    create_device_grant(
        DeviceRequest(client_id=device.application.client_id, scope="read"),
        DeviceCodeResponse(verification_uri="", expires_in=600, interval=5, **codes),
    )
    return codes


def works(site: Site, access_token: str) -> bool:
    """Return whether a token is accepted; the API also wants to know whose it is."""
    is_a_users = site.application.name != "client_credentials"
    return site.active(access_token) and site.api(access_token) == (200 if is_a_users else 403)


def work(grants: Sequence[str] = PLAIN_GRANTS) -> None:
    """Issue, use, refresh, introspect and revoke tokens."""
    for grant in grants:
        site = client(grant)
        answer = site.token()
        if "refresh_token" in answer.data:
            first, answer = answer, site.refresh(answer.refresh)
            assert site.refresh(first.refresh).status == 400
            assert not site.active(first.access)
        assert works(site, answer.access)
        assert site.revoke(answer.access).status == 200
        assert not site.active(answer.access)


def work_while_migrating(settings: str) -> None:
    command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
    with subprocess.Popen(command, env=environment) as migration:
        while migration.poll() is None:
            try:
                work()
            except OperationalError:
                # MariaDB ends a transaction that has read a table and comes to write it when the table is
                # about to change: a deadlock, as far as it is concerned.
                if connection.vendor != "mysql":
                    raise
    assert migration.returncode == 0
    work()


def go_on(tokens: dict[str, Any]) -> None:
    """Use what was issued before the app came."""
    for grant, token in tokens["access"]:
        assert works(client(grant), token)
    for grant, token in tokens["rotated"]:
        assert client(grant).refresh(token)["error"] == "invalid_grant"
    for grant, token in tokens["refresh"]:
        refreshed = client(grant).refresh(token)
        assert works(client(grant), refreshed.access)
        assert not is_jwt(refreshed.access)

    redeemed = client("authorization_code").post("/oauth2/token/", tokens["code"])
    assert redeemed["scope"] == "openid read"
    assert "id_token" in redeemed.data

    device = client(DEVICE)
    device.accept_device(tokens["device"]["user_code"])
    form = {"grant_type": DEVICE, "device_code": tokens["device"]["device_code"]}
    assert works(device, device.post("/oauth2/token/", form).access)

    work()
    assert not AccessToken.objects.filter(binding__isnull=False).exists()


def opt_in() -> list[Any]:
    """Let one application after the other bind its tokens, and return live opaque ones."""
    unbound = client("password").token()

    Application.objects.filter(name="password").update(
        token_type="opaque", token_binding_type="client-request"
    )
    site = client("password")
    phone, tablet = site.bound("phone"), site.bound("tablet")
    again = site.bound("phone")
    assert (again.access, again.refresh) == (phone.access, phone.refresh)
    assert phone.access != tablet.access
    assert site.introspect(phone.access)["binding_type"] == "client-request"
    assert works(site, unbound.access)

    Application.objects.filter(name="authorization_code").update(
        token_type="jwt", token_binding_type="client-request"
    )
    site = client("authorization_code")
    superseded, other, newest = site.bound("phone"), site.bound("tablet"), site.bound("phone")
    assert [site.active(answer.access) for answer in (superseded, other, newest)] == [False, True, True]
    assert newest.claims["binding_type"] == "client-request"

    # Here, because the processes without the app import this module, too.
    from tests.helpers.exchange import allow, exchange

    Application.objects.filter(name="client_credentials").update(additional_grant_types="token-exchange")
    backend = client("client_credentials")
    allow(backend, site, refresh_tokens=True)
    exchanged = exchange(backend, newest.access)
    assert works(site, exchanged.access)
    assert works(site, exchange(backend, other.access).access)
    site.revoke(newest.access)
    assert not backend.active(exchanged.access)

    for username in ("bob", "carol"):
        for grant in ("password", "authorization_code"):
            answer = client(grant, username).bound("phone")
        exchange(backend, answer.access)
    return [[answer.access, answer.refresh] for answer in (phone, tablet)]


def work_without_the_app(bound_tokens: list[Any]) -> None:
    site = client("password")
    for access, refresh in bound_tokens:
        assert works(site, access)
        refreshed = site.refresh(refresh)
        assert works(site, refreshed.access)
        assert site.refresh(refresh).status == 400
        assert not site.active(access)
    work()


def delete_this_and_that() -> dict[str, Any]:
    """Delete tokens, a user and an application that have bound tokens, and return the rows that are left."""
    AccessToken.objects.filter(user__username="bob", application__name="password").get().delete()
    RefreshToken.objects.filter(user__username="bob", application__name="password").get().delete()
    User.objects.get(username="carol").delete()
    Application.objects.get(name="authorization_code").delete()
    call_command("cleartokens")
    return rows()


def rows() -> dict[str, Any]:
    """Return what django-oauth-toolkit knows."""
    toolkit: list[type[models.Model]] = [Application, AccessToken, RefreshToken, Grant]
    return {
        model.__name__: [list(map(str, row)) for row in model._default_manager.order_by("pk").values_list()]
        for model in toolkit
    }
