"""What holds for a site with models of its own; test_swapped_models.py runs this in such a site."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.toolkit_paths import IS_BY_ROLE
from oauth_binding.devices import devices_of
from tests.helpers.client import PASSWORD, Site
from tests.helpers.exchange import ACCESS_TOKEN, allow, exchange


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("alice", password=PASSWORD)


def indexes(model: type[models.Model]) -> set[tuple[str, ...]]:
    """Return the indexes of a table, each as its kind and its columns."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    return {(kind, *one["columns"]) for one in found for kind in ("unique", "index") if one[kind]}


@pytest.mark.django_db
def test_nothing_is_left_to_migrate() -> None:
    call_command("makemigrations", check=True, dry_run=True)  # in any app


@pytest.mark.django_db
def test_the_tables_have_the_indexes_of_both_apps() -> None:
    assert indexes(get_access_token_model()) >= {
        ("index", "binding_id"),
        ("index", "exchange_id"),
        ("unique", "slot"),
    }
    assert indexes(get_refresh_token_model()) >= {
        ("index", "binding_id"),
        ("index", "exchange_id"),
        ("index", "token_family"),
        # Since it is laid out by role, the toolkit has the checksum once only.
        ("unique", "token_checksum") if IS_BY_ROLE else ("unique", "token_checksum", "revoked"),
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


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_token_exchange(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    user: Any,
    token_type: str,
    binding_type: str,
) -> None:
    mobile = make_bound("jwt")
    backend = make_site(
        "client_credentials",
        as_user=None,
        token_type=token_type,
        token_binding_type=binding_type,
        additional_grant_types="token-exchange",
    )
    allow(backend, mobile, impersonation=False, delegation=True, refresh_tokens=True)
    subject = mobile.bound("phone")

    actor = {"actor_token": backend.token().access, "actor_token_type": ACCESS_TOKEN}
    answer = exchange(backend, subject.access, **actor)

    found = backend.introspect(answer.access)
    assert found["sub"] == str(user.pk)
    assert found["act"]["client_id"] == backend.application.client_id
    refreshed = backend.refresh(answer.refresh)
    assert backend.introspect(refreshed.access)["act"] == found["act"]
    mobile.revoke(subject.access)
    assert not backend.active(refreshed.access)


def test_the_page_of_devices(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: Any
) -> None:
    bound, unbound = make_bound(name="Mail"), make_site(name="News")
    phone, tablet, other = bound.bound("phone"), bound.bound("tablet"), unbound.token()
    browser = Client()
    browser.force_login(user)

    page = browser.get("/oauth2/devices/").content.decode()
    assert re.findall(r"<bdi>(.*?)</bdi>", page) == [
        "Mail",
        binding_reference("tablet")[:12],
        binding_reference("phone")[:12],
        "News",
        "Not bound to a device",
    ]
    for device in devices_of(user):
        if device.name != binding_reference("tablet")[:12]:
            assert browser.post(f"/oauth2/devices/{device.id}/sign-out/").status_code == 302

    assert not bound.active(phone.access)
    assert not unbound.active(other.access)
    assert bound.active(tablet.access)
