"""SQL that is written once does what the ORM form beside it does: the docstrings are run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.models import RevokedToken, TokenBinding
from oauth_binding.storage import prepared_sql, refreshed, slots
from tests.helpers.client import Site
from tests.helpers.orm_forms import Undone, orm_form, rows_of


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound()


def what_there_is() -> tuple[Any, ...]:
    named = list(RevokedToken.objects.order_by("jti").values_list("jti", "expires", "revoked"))
    return rows_of(get_access_token_model()), rows_of(get_refresh_token_model()), named


def what_it_leaves(function: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """Return all rows of tokens, and what the feed names, after a function that is then undone."""
    try:
        with transaction.atomic():
            function(*arguments)
            left = what_there_is()
            raise Undone
    except Undone:
        return left


@pytest.mark.parametrize("feed", [True, False])
@pytest.mark.parametrize("has_refresh_tokens", [True, False])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_emptying_a_slot(
    make_bound: Callable[..., Site], settings: Any, token_type: str, has_refresh_tokens: bool, feed: bool
) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": feed}
    sites = {name: make_bound(name) for name in ("opaque", "jwt")}
    for binding in (None, "phone", "laptop"):
        for each in sites.values():
            each.bound(binding)
    site = sites[token_type]
    site.refresh(site.bound("phone").refresh)
    held = get_access_token_model().objects.get(
        binding__binding_value="phone", slot__isnull=False, application=site.application
    )

    def written_once(using: str, slot: str, has_refresh_tokens: bool) -> None:
        slots.empty(using, slot, has_refresh_tokens=has_refresh_tokens)

    with time_machine.travel("2040-05-06 07:08:09Z", tick=False):
        get_access_token_model().objects.filter(pk=held.pk).update(
            expires=timezone.now() + timedelta(hours=1)
        )
        before = what_there_is()
        for slot in (held.slot, "0" * 64):
            arguments = connection.alias, slot, has_refresh_tokens
            left = what_it_leaves(written_once, *arguments)
            assert left == what_it_leaves(orm_form(slots.empty), *arguments)
            assert (left == before) is (slot != held.slot)
            is_named = slot == held.slot and feed and token_type == "jwt"
            assert len(left[2]) == len(before[2]) + is_named


@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize(
    ("changed", "left_by_refresh", "left_by_deletion"),
    [
        ({}, "NOTHING", "NOTHING"),
        ({"refresh": {"revoked": "2040-05-06T07:08:08Z"}}, "PAIR", "PAIR"),
        ({"refresh": {"binding_confirmation": "jkt:other"}}, "PAIR", "PAIR"),
        ({"refresh": {"access_token": None}}, "PAIR", "PAIR"),
        ({"access": {"slot": None}}, "ACCESS_TOKEN", "NOTHING"),
        ({"access": {"slot": "1" * 64}}, "ACCESS_TOKEN", "NOTHING"),
        ({"access": {"token_checksum": "1" * 64}}, "ACCESS_TOKEN", "ACCESS_TOKEN"),
    ],
)
def test_ending_a_pair(
    site: Site, has_key: bool, changed: dict[str, Any], left_by_refresh: str, left_by_deletion: str
) -> None:
    site.bound("laptop")
    site.bound("phone")
    refresh_tokens = get_refresh_token_model().objects.filter(binding__binding_value="phone")
    if has_key:
        refresh_tokens.update(binding_confirmation="jkt:key")
    read = refresh_tokens.select_related("access_token").get()
    slot = read.access_token.slot
    refresh_tokens.update(**changed.get("refresh", {"token_seed": None}))
    access_tokens = get_access_token_model().objects.filter(pk=read.access_token.pk)
    access_tokens.update(**changed.get("access", {"token_seed": None}))
    left: list[refreshed.Left] = []

    def noting(function: Callable[..., Any]) -> Callable[..., None]:
        return lambda *arguments: left.append(function(*arguments))

    cases: list[tuple[Any, tuple[Any, ...], str]] = [
        (refreshed.end_pair, (connection.alias, read, slot), left_by_refresh),
        (refreshed.end_and_delete_pair, (connection.alias, read), left_by_deletion),
    ]
    with time_machine.travel("2040-05-06 07:08:09Z", tick=False):
        for function, arguments, expected in cases:
            left.clear()
            rows = what_it_leaves(noting(function), *arguments)
            assert rows == what_it_leaves(noting(orm_form(function)), *arguments)
            assert left == [refreshed.Left[expected]] * 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere it is two statements")
def test_a_refresh_token_is_locked_before_its_access_token(site: Site) -> None:
    """Who waits for the refresh token has not locked the access token."""
    token = site.bound("phone")
    read = get_refresh_token_model().objects.select_related("access_token").get()
    together, *_two = refreshed._statements(connection.alias, False, True)
    key = read.access_token.pk
    arguments = [timezone.now(), timezone.now(), read.pk, key, timezone.now(), timezone.now(), key, "", ""]

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {together}", arguments)
        plan = "\n".join(row for (row,) in cursor.fetchall())

    _revoking, _cte, ending_access = plan.partition("CTE ended")
    assert "One-Time Filter" in ending_access.partition("Index Scan")[0], plan
    assert site.active(token.access)


@pytest.mark.parametrize("lock", ["", "share", "update"])
def test_values_of_a_row(site: Site, user: User, lock: prepared_sql.Lock) -> None:
    site.bound("phone")
    binding, row = TokenBinding.objects.get(), get_access_token_model().objects.get()
    cases: list[tuple[Any, str, Any, tuple[str, ...]]] = [
        (TokenBinding, "key", binding.key, ("pk", "last_used")),
        (TokenBinding, "pk", binding.pk, ("name", "user__username", "created")),
        (TokenBinding, "key", "0" * 64, ("pk",)),
        (get_access_token_model(), "slot", row.slot, ("pk", "expires", "resource", "binding__key")),
        (get_access_token_model(), "token_checksum", row.token_checksum, ("slot", "id_token")),
        (User, "username", user.username, ("is_active", "date_joined")),
    ]
    form = orm_form(prepared_sql.fetch)

    with transaction.atomic():
        for model, field, value, all_names in cases:
            # PostgreSQL locks no row of a table that is joined and may lack one.
            names = tuple(name for name in all_names if not lock or "__" not in name)
            expected = form(connection.alias, model, field, value, names, lock, "objects")
            for _again in range(2):
                values = prepared_sql.fetch(connection.alias, model, field, value, names, lock=lock)
                assert values == (None if expected is None else list(expected))


def test_a_row(site: Site, make_site: Callable[..., Site]) -> None:
    bound, unbound = site.bound("phone"), make_site(require_binding="report").token()
    assert bound.status == unbound.status == 200
    model = get_access_token_model()
    of_nobody = model.objects.create(token="of nobody", expires=timezone.now())
    related = ("application", "application__token_policy", "user", "binding")
    checksums = [*model.objects.values_list("token_checksum", flat=True), "0" * 64]
    cases: list[tuple[Any, str, Any, tuple[str, ...]]] = [
        *((model, "token_checksum", checksum, related) for checksum in checksums),
        (get_application_model(), "client_id", site.application.client_id, ()),
    ]
    form = orm_form(prepared_sql.find)

    for model, field, value, names in cases:
        row = prepared_sql.find(connection.alias, model, field, value, names)
        expected = form(connection.alias, model, field, value, names)
        assert row == expected
        assert row is None or model_to_dict(row) == model_to_dict(expected)
        for name in names if row is not None else ():
            assert related_row(row, name) == related_row(expected, name)

    found = prepared_sql.find(connection.alias, type(of_nobody), "pk", of_nobody.pk, related)
    assert (found.application, found.user, found.binding) == (None, None, None)


def related_row(row: Any, path: str) -> Any:
    """Return a row that another one refers to, without a query for it, or None."""
    with CaptureQueriesContext(connection) as queries:
        for name in path.split("__"):
            row = getattr(row, name, None)
    assert not queries.captured_queries
    return row
