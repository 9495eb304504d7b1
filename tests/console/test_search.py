"""Searching the lists of bindings and tokens: by words, each of which is found, and by an index."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from oauth2_provider.models import Application

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.console.large_tables import BoundedPaginator
from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site
from tests.helpers.plans import TABLES, by_index

BINDINGS = "/admin/oauth_binding/tokenbinding/"

REFERENCE = binding_reference("phone")


@pytest.fixture
def bindings(make_bound: Callable[..., Site], user: User) -> dict[str, TokenBinding]:
    """Return bindings of two users at two applications, by what they were named."""
    mobile = make_bound(name="Mobile app", client_id="mobile")
    web = make_bound(name="Web", client_id="web")
    bob = User.objects.create_user("bob", "bob@example.com", PASSWORD)
    for site, holder, value, name in (
        (mobile, user, "phone", "Alice's phone"),
        (mobile, user, "laptop", "Laptop"),
        (web, user, "browser", ""),
        (mobile, bob, "another phone", "Bob's phone"),
        (web, bob, "100 percent", "100% mine"),
        (web, bob, "underlined", "1000"),
    ):
        Site(site.application, holder).bound(value)
        TokenBinding.objects.filter(reference=binding_reference(value)).update(name=name)
    return {binding.binding_value: binding for binding in TokenBinding.objects.all()}


@pytest.mark.parametrize(
    ("term", "found"),
    [
        # References, by 8 characters and more.
        (REFERENCE, {"phone"}),
        (REFERENCE[:12], {"phone"}),
        (REFERENCE[:8], {"phone"}),
        (REFERENCE[:7], set()),
        (REFERENCE[1:12], set()),
        # Names, by their beginning; the characters of patterns are nothing special.
        ("Laptop", {"laptop"}),
        ("Lap", {"laptop"}),
        ("Alice's phone", {"phone"}),
        ("Alice's", {"phone"}),
        ("100%", {"100 percent"}),
        ("100_", set()),
        ("%", set()),
        # Applications and users, whole.
        ("mobile", {"phone", "laptop", "another phone"}),
        ("Mobile app", {"phone", "laptop", "another phone"}),
        ("Mobil", set()),
        ("alice", {"phone", "laptop", "browser"}),
        ("alice@example.com", {"phone", "laptop", "browser"}),
        # Several words.
        ("alice mobile", {"phone", "laptop"}),
        ("mobile alice", {"phone", "laptop"}),
        ("alice alice", {"phone", "laptop", "browser"}),
        ("alice web", {"browser"}),
        ("alice Laptop", {"laptop"}),
        ("alice bob", set()),
        ("alice nothing", set()),
        (f"mobile {REFERENCE[:12]}", {"phone"}),
        (f"web {REFERENCE[:12]}", set()),
        ('"Mobile app" bob', {"another phone"}),
        ("Mobile app bob", set()),
        ('"Bob\'s phone"', {"another phone"}),
        ('"', set()),
        ('""', set()),
        # Never by what it was sent.
        ("phone", set()),
        ("underlined", set()),
    ],
)
def test_search(operator: Client, bindings: dict[str, TokenBinding], term: str, found: set[str]) -> None:
    page = operator.get(BINDINGS, {"q": term})

    assert {binding.binding_value for binding in page.context["cl"].result_list} == found


@pytest.mark.parametrize(
    ("term", "number"), [("alice", 3), ("alice web", 1), ("bob alice", 0), ("'Mobile app' bob", 1)]
)
@pytest.mark.parametrize("kind", ["accesstoken", "refreshtoken"])
def test_search_of_tokens(
    operator: Client, bindings: dict[str, TokenBinding], kind: str, term: str, number: int
) -> None:
    page = operator.get(f"/admin/oauth2_provider/{kind}/", {"q": term})

    assert page.context["cl"].result_count == number


# However many there are

ROWS = 5000


@pytest.fixture
def many(transactional_db: None) -> None:
    """Make the bindings of many users, and statistics of them."""
    application = Application.objects.create(
        client_type="confidential", authorization_grant_type="password", name="app", client_id="a-client"
    )
    users = User.objects.bulk_create(User(username=f"user-{number}") for number in range(ROWS))
    rows = TokenBinding.objects.bulk_create(
        TokenBinding(
            application_id=application.pk,
            user=user,
            binding_type="client-request",
            binding_value=user.username,
            reference=binding_reference(user.username),
            name=f"{number}th device",
            key=secrets.token_hex(32),
        )
        for number, user in enumerate(users)
    )
    assert len(rows) == ROWS
    # SQLite takes an index for better than none if it knows nothing of it.
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            tables = ", ".join(TABLES)
            cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else f"ANALYZE {tables}")


@pytest.mark.django_db(transaction=True)
def test_a_search_goes_by_indexes(many: None, rf: Any) -> None:
    """Of each kind in one test, as making the rows takes longer than asking for them."""
    model_admin = admin.site.get_model_admin(TokenBinding)
    bindings = model_admin.get_queryset(rf.get(BINDINGS))
    found = {}

    for term in (
        "user-7",
        "42th device",
        binding_reference("user-7"),
        binding_reference("user-7")[:12],
        f"user-7 {binding_reference('user-7')[:12]}",
        "user-7 nothing",
        "user-7 '7th device'",
    ):
        with by_index():
            results, _ = model_admin.get_search_results(rf.get(BINDINGS), bindings, term)
            found[term] = bool(results.order_by("-pk")[:100])
            BoundedPaginator(results.order_by("-pk"), 100).count  # noqa: B018

    assert [term for term, is_found in found.items() if not is_found] == ["user-7 nothing"]
