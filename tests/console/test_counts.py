"""How many rows a list says that there are: never another number than there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site

BINDINGS = "/admin/oauth_binding/tokenbinding/"


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    """Return an application with seven devices of alice and one of bob."""
    site = make_bound()
    for number in range(7):
        site.bound(f"device {number}")
    Site(site.application, User.objects.create_user("bob", password=PASSWORD)).bound("theirs")
    return site


@pytest.fixture
def few_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oauth_binding.console.large_tables.MAX_ROWS", 5)


def text(page: Any) -> str:
    """Return what people read on a page."""
    assert page.status_code == 200
    without = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(without).split())


def test_of_few_it_is_exact(operator: Client, site: Site) -> None:
    shown = text(operator.get(BINDINGS))

    assert "8 token bindings" in shown
    assert "Count exactly" not in shown


@pytest.mark.usefixtures("few_are_counted")
def test_of_many_it_is_about_how_many_or_at_least(operator: Client, site: Site) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TokenBinding._meta.db_table}")

    shown = text(operator.get(BINDINGS))

    about = "About 8" if connection.vendor == "postgresql" else "At least 5"
    assert f"{about} token bindings" in shown
    assert "the newest 5 can be looked through" not in shown  # they are all on this page
    assert not re.search(r"\b5 (results|token bindings)", shown.replace("At least 5", ""))
    assert "of 5 selected" not in shown


@pytest.mark.usefixtures("few_are_counted")
def test_it_is_counted_exactly_when_that_is_asked_for(operator: Client, site: Site) -> None:
    page = operator.get(BINDINGS, {"user__id__exact": str(User.objects.get(username="alice").pk)})
    link = re.search(r'href="([^"]*)">Count exactly', page.content.decode())
    assert link is not None

    exact = operator.get(BINDINGS + unescape(link[1]))

    shown = text(exact)
    assert "7 token bindings" in shown
    assert "Count exactly" not in shown
    # It is no part of the other links.
    assert "count=" not in exact.content.decode()


@pytest.mark.usefixtures("few_are_counted")
def test_pages_go_as_far_as_rows_can_be_looked_through(
    operator: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oauth_binding.console.bindings.TokenBindingAdmin.list_per_page", 2)

    page = operator.get(BINDINGS)

    assert "the newest 5 can be looked through" in text(page)
    assert "?p=3" in page.content.decode()
    assert "?p=4" not in page.content.decode()


def test_of_what_is_looked_for_among_the_newest_it_is_said(
    operator: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "8 token bindings" in text(operator.get(BINDINGS, {"live": "yes"}))
    monkeypatch.setattr("oauth_binding.console.live_bindings.MAX_LOOKED_AT", 3)
    monkeypatch.setattr("oauth_binding.console.bindings.MAX_LOOKED_AT", 3)

    shown = text(operator.get(BINDINGS, {"live": "yes"}))

    assert "At least 3 token bindings" in shown
    assert "among the newest 3 that may have live tokens" in shown
    # Of bob's there is one, and nothing else that has to be looked at.
    assert "1 token binding" in text(operator.get(BINDINGS, {"live": "yes", "q": "bob"}))
    assert "At least" not in text(operator.get(BINDINGS, {"live": "yes", "q": "bob"}))


def test_the_list_can_be_turned_around(operator: Client, site: Site) -> None:
    column = TokenBinding.objects.order_by("pk")
    listed = operator.get(BINDINGS, {"o": "6"}).context["cl"].result_list

    assert [binding.pk for binding in listed] == [binding.pk for binding in column]
