"""Counting the devices of a user: what is looked at, by which index, and under which lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauth_binding.authorization_server import revoke_binding
from oauth_binding.models import TokenBinding
from oauth_binding.storage import bindings, devices, users
from tests.helpers.client import Site
from tests.helpers.rows import access_token_row, expire, make_devices


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound()


def new(site: Site, value: str = "new") -> TokenBinding:
    return TokenBinding.identify(site.application, site.user, "client-request", value)


def looked_at(site: Site) -> list[tuple[str, bool]]:
    """Return what may be live, as the binding value, and whether it is."""
    values = dict(TokenBinding.objects.values_list("key", "binding_value"))
    return [(values[device.key], device.is_live) for device in devices.marked_devices(new(site))]


def test_it_is_the_count_of_what_is_marked(site: Site, make_bound: Callable[..., Site]) -> None:
    for name in ("phone", "laptop", None):
        site.bound(name)
        make_bound().bound(name)
    TokenBinding.objects.filter(application=site.application, binding_value="laptop").update(
        may_be_live=False
    )

    assert devices.count_marked(new(site), 10) == len(devices.marked_devices(new(site))) == 2
    with transaction.atomic():
        assert devices.lock_and_count(new(site), 10) == 2


@pytest.mark.parametrize("names", [(), ("phone",), ("phone", "laptop")])
def test_the_user_is_locked_before(site: Site, names: tuple[str, ...]) -> None:
    for name in names:
        site.bound(name)
    user: Any = site.user

    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        locked, number = devices.share_user_and_count(new(site), 10)

    assert (locked, number) == (users.LockedUser(is_active=True, password=user.password), len(names))
    statements = "; ".join(query["sql"] for query in captured.captured_queries)
    order = [
        statements.index(part)
        for part in (user._meta.db_table, connection.ops.quote_name("revision"), "COUNT(*)")
    ]
    assert order == sorted(order)


def test_a_user_who_is_gone(site: Site) -> None:
    user: Any = site.user
    binding = new(site)
    user.delete()

    with transaction.atomic():
        assert devices.share_user_and_count(binding, 10)[0] is None


@pytest.mark.parametrize("at_most", [1, 2, 3, 4])
def test_it_stops_at_the_limit(site: Site, at_most: int) -> None:
    for name in ("phone", "laptop", "tablet"):
        site.bound(name)

    assert devices.count_marked(new(site), at_most) == min(at_most, 3)
    with transaction.atomic():
        assert devices.lock_and_count(new(site), at_most) == min(at_most, 3)


def test_the_least_recently_used_comes_first_with_whether_it_is_live(site: Site) -> None:
    answers = {name: site.bound(name) for name in ("phone", "laptop", "tablet", "watch")}
    TokenBinding.objects.filter(binding_value="phone").update(last_used=timezone.now())
    expire(answers["tablet"].access)
    site.revoke(answers["watch"].refresh)

    assert looked_at(site) == [("laptop", True), ("tablet", True), ("watch", False), ("phone", True)]


def test_what_lost_the_mark_gets_it_back_with_a_token(site: Site) -> None:
    site.bound("phone")
    revoke_binding(TokenBinding.objects.get())
    assert looked_at(site) == []

    site.bound("phone")

    assert looked_at(site) == [("phone", True)]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_refresh_keeps_the_mark(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    answer = site.bound("phone")
    TokenBinding.objects.update(may_be_live=False)

    site.refresh(answer.refresh)

    assert looked_at(site) == [("phone", True)]


def test_a_row_of_code_that_does_not_know_the_mark_is_marked(db: None, user: User, site: Site) -> None:
    columns = ("application_id", "user_id", "binding_type", "binding_value", "reference", "name", "key")
    quote, now = connection.ops.quote_name, timezone.now()
    names = ", ".join(map(quote, [*columns, "created", "last_used"]))
    values = [site.application.pk, user.pk, "client-request", "old", "old", "", "old", now, now]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(TokenBinding._meta.db_table)} ({names}) VALUES ({', '.join(['%s'] * 9)})",
            values,
        )

    assert devices.count_marked(new(site), 10) == 1


def test_only_a_live_token_in_the_slot_lets_a_binding_pass(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    answer = site.bound("phone")
    phone = TokenBinding.objects.get()
    slot = access_token_row(answer.access).slot
    assert slot is not None

    def passes(slot: str) -> bool:
        found = new(site, "phone")
        with transaction.atomic():
            is_passed = bindings.lock_occupied(found, slot, None)
        assert found.pk == (phone.pk if is_passed else None)
        return is_passed

    revision = phone.revision
    assert not passes("0" * 64)
    phone.refresh_from_db()
    assert phone.revision == revision
    assert passes(slot)
    phone.refresh_from_db()
    assert phone.revision == revision + 1
    expire(answer.access)
    assert not passes(slot)


def test_the_gate_is_no_binding_until_it_is_used(site: Site) -> None:
    with transaction.atomic():
        devices.lock_and_count(new(site), 10)
        devices.lock_and_count(new(site, "another"), 10)

    (gate,) = TokenBinding._base_manager.all()
    assert (gate.is_shared, gate.revision) == (True, 1)
    assert not TokenBinding.objects.exists()
    site.bound(None)
    assert TokenBinding.objects.get() == gate


def test_clearbindings_deletes_gates_that_are_not_used(site: Site) -> None:
    with transaction.atomic():
        devices.lock_and_count(new(site), 10)
    TokenBinding._base_manager.update(last_used=timezone.now() - timedelta(days=100))

    call_command("clearbindings", stdout=StringIO())

    assert not TokenBinding._base_manager.exists()


@contextmanager
def plans() -> Iterator[list[str]]:
    """Collect how the database looks for what is counted."""
    found: list[str] = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT COUNT(*) FROM (SELECT 1"):
            prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
            execute(f"{prefix} {sql}", parameters, False, context)
            found.append("\n".join(str(row) for row in context["cursor"].fetchall()))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explain):
        yield found


@pytest.mark.django_db(transaction=True)
def test_the_count_goes_by_an_index(site: Site, user: User) -> None:
    """Rows of devices that are gone are not looked at, however many they are."""
    make_devices(user, site.application, 2000)
    TokenBinding.objects.update(may_be_live=False)
    make_devices(user, site.application, 3)
    # Not SQLite, whose statistics would stay for the tests that come after.
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            table = TokenBinding._meta.db_table
            cursor.execute(
                f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else f"VACUUM ANALYZE {table}"
            )

    with plans() as found:
        assert devices.count_marked(new(site), 1000) == 3

    (plan,) = found
    assert "oauth_binding_devices" in plan
