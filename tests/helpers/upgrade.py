"""Data that an upgrade of django-oauth-toolkit has to leave as it is, and how it is used before and after."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from oauth2_provider.models import Application

from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.project import ADDED, OWN


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


# What runs in the processes of a site


def client(token_type: str) -> Site:
    return Site(Application.objects.get(name=token_type), User.objects.get())


def sign_in() -> dict[str, Any]:
    """Make a user and applications, and return a token pair of a phone for each."""
    User.objects.create_user("alice", password=PASSWORD)
    for token_type in ("opaque", "jwt"):
        make_application(token_type)
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
