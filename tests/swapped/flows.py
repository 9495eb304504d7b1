"""What holds for a site with models of its own; test_swapped_models.py runs this in such a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, models
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from tests.conftest import PASSWORD, Site


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("alice", password=PASSWORD)


def indexes(model: type[models.Model]) -> set[tuple[str, ...]]:
    """Return the indexes of a table, each as its kind and its columns."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    return {(kind, *one["columns"]) for one in found for kind in ("unique", "index") if one[kind]}


@pytest.mark.django_db
def test_the_tables_have_the_indexes_of_both_apps() -> None:
    assert indexes(get_access_token_model()) >= {("index", "binding_id"), ("unique", "slot")}
    assert indexes(get_refresh_token_model()) >= {
        ("index", "binding_id"),
        ("index", "token_family"),
        ("unique", "token_checksum", "revoked"),
    }


def test_an_opaque_token_per_device(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")
    phone, tablet = site.bound("phone"), site.bound("tablet")

    again = site.bound("phone")

    assert (again.access, again.refresh) == (phone.access, phone.refresh)
    assert phone.access != tablet.access
    assert site.api(phone.access) == site.api(tablet.access) == 200


def test_a_jwt_per_device(make_bound: Callable[..., Site], user: Any) -> None:
    site = make_bound("jwt")
    phone, tablet = site.bound("phone"), site.bound("tablet")

    again = site.bound("phone")

    assert again.claims["sub"] == str(user.pk)
    assert [site.active(answer.access) for answer in (phone, tablet, again)] == [False, True, True]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_refreshing_keeps_the_binding(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    first = site.bound("phone")
    before = site.introspect(first.access)

    refreshed = site.refresh(first.refresh)

    after = site.introspect(refreshed.access)
    assert after["binding_type"] == "client-request"
    assert after["binding_ref"] == before["binding_ref"]
    assert not site.active(first.access)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_revoking_one_device(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    phone, tablet = site.bound("phone"), site.bound("tablet")

    assert site.revoke(phone.refresh).status == 200

    assert not site.active(phone.access)
    assert site.active(tablet.access)
    assert site.refresh(phone.refresh).status == 400
