"""A site that reads from a replica which lags: here one that never hears of anything after the set-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from oauth2_provider.models import Application

from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import TokenExchangeRule
from tests.helpers.client import PASSWORD, REDIRECT_URI, SECRET, Answer, Site
from tests.helpers.exchange import exchange
from tests.helpers.project import Project, check

pytestmark = pytest.mark.slow

ROUTER = """
class ReadsFromReplica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True
"""

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def test_what_decides_is_read_from_the_writer(
    project: Project, make_database: Callable[[], dict[str, Any]]
) -> None:
    project.write("routers.py", ROUTER)
    project.write_settings(
        "replicated",
        "DATABASE_ROUTERS = ['routers.ReadsFromReplica']",
        # Whether a browser is signed in is for Django to read.
        "SESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'",
        default=make_database(),
        replica=make_database(),
    )

    project.call("replicated", set_up)
    project.call("replicated", check)
    for token_type in ("opaque", "jwt"):
        for binding in ("none", "client-request"):
            project.call("replicated", use, token_type, binding)
    project.call("replicated", change_password)


# What runs in the processes of the site


def set_up() -> None:
    """Migrate both databases, and let the replica know the user and the applications, and nothing later."""
    for alias in connections:
        call_command("migrate", database=alias, verbosity=0)
    User.objects.create_user("alice", password=PASSWORD)
    for token_type in ("opaque", "jwt"):
        for binding in ("none", "client-request"):
            application = Application.objects.create(
                name=f"{token_type} {binding}",
                client_type="confidential",
                authorization_grant_type="authorization-code",
                additional_grant_types=f"password {DEVICE_GRANT} token-exchange",
                redirect_uris=REDIRECT_URI,
                client_secret=SECRET,
                hash_client_secret=False,
                algorithm="RS256",
                token_type=token_type,
                token_binding_type=binding,
            )
            TokenExchangeRule.objects.create(
                client=application, subject_client=application, impersonation=True
            )
    for model in apps.get_models():
        if model._meta.app_label in {"auth", "oauth2_provider", "oauth_binding"}:
            rows = list(model._base_manager.using("default").all())
            model._base_manager.using("replica").all().delete()
            model._base_manager.using("replica").bulk_create(rows)


def use(token_type: str, binding: str) -> None:
    """Use what was issued a moment ago, and not what was ended a moment ago."""
    application = Application.objects.get(name=f"{token_type} {binding}")
    user = User.objects.get()
    site = Site(application, user)

    def login() -> Answer:
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
        return site.post("/oauth2/token/", {**form, "tokenBindingId": "phone"})

    first = login()
    assert (login().access == first.access) is ((token_type, binding) == ("opaque", "client-request"))
    by_code = site.post("/oauth2/token/", {**site.authorization_code(), "tokenBindingId": "browser"})
    started = site.start_device()
    by_device = site.post(
        "/oauth2/token/", {"grant_type": DEVICE_GRANT, "device_code": started["device_code"]}
    )
    assert (by_code.status, by_device["error"]) == (200, "authorization_pending")
    latest = login()
    exchanged = exchange(site, latest.access, tokenBindingId="exchanged")
    refreshed = site.refresh(latest.refresh)
    assert (exchanged.status, refreshed.status) == (200, 200), (exchanged.data, refreshed.data)
    for answer in (by_code, exchanged, refreshed):
        assert (site.api(answer.access), site.active(answer.access)) == (200, True)
    assert (site.api(latest.access), site.active(latest.access)) == (401, False)

    site.revoke(by_code.access)
    assert (site.api(by_code.access), site.active(by_code.access)) == (401, False)
    assert site.refresh(by_code.refresh).status == 400
    sign_out_everywhere(user)
    for answer in (exchanged, refreshed):
        assert (site.api(answer.access), site.active(answer.access)) == (401, False)


def change_password() -> None:
    """Change the password, which the replica does not hear of."""
    site = Site(Application.objects.get(name="opaque client-request"), User.objects.get())
    form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
    pair = site.post("/oauth2/token/", form)
    user = User.objects.using("default").get()
    user.set_password("another correct horse")
    user.save()

    assert site.post("/oauth2/token/", form).status == 400
    assert site.post("/oauth2/token/", {**form, "password": "another correct horse"}).status == 200
    assert not site.active(pair.access)
