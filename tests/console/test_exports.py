"""The list of bindings as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from oauth2_provider.models import AccessToken, RefreshToken

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site
from tests.helpers.staff import staff

CSV = "/admin/oauth_binding/tokenbinding/csv/"


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    """Return an application with four devices of alice and one of bob."""
    site = make_bound(name="Mobile app", client_id="mobile")
    for name in ("phone", "laptop", "tablet", "watch"):
        site.bound(name)
    Site(site.application, User.objects.create_user("bob", password=PASSWORD)).bound("theirs")
    return site


def rows(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="token-bindings.csv"'
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_it_has_what_is_known_of_each_binding(operator: Client, make_bound: Callable[..., Site]) -> None:
    site = make_bound(name="Mobile app", client_id="mobile")
    site.bound("phone")
    TokenBinding.objects.update(
        name="My phone", last_browser="Firefox", last_os="Android", last_address="192.0.2.1", last_place="Ulm"
    )
    binding = TokenBinding.objects.get()

    (row,) = rows(operator.get(CSV))

    assert row == {
        "id": str(binding.pk),
        "application": "Mobile app",
        "client_id": "mobile",
        "user": "alice",
        "name": "My phone",
        "description": "Firefox on Android",
        "binding_type": "client-request",
        "reference": binding_reference("phone"),
        "live_access_tokens": "1",
        "live_refresh_tokens": "1",
        "first_seen": binding.created.isoformat(timespec="seconds"),
        "last_used": binding.last_used.isoformat(timespec="seconds"),
        "address": "192.0.2.1",
        "place": "Ulm",
    }


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
def test_it_has_all_that_the_list_shows(
    operator: Client, site: Site, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oauth_binding.console.exports.CHUNK", chunk)

    assert [row["user"] for row in rows(operator.get(CSV))] == ["bob", *["alice"] * 4]
    assert [row["user"] for row in rows(operator.get(CSV, {"q": "bob"}))] == ["bob"]
    assert rows(operator.get(CSV, {"binding_type": "dpop-key"})) == []
    # Also what the list does not look at, and is not on its page.
    monkeypatch.setattr("oauth_binding.console.live_bindings.MAX_LOOKED_AT", 1)
    AccessToken.objects.filter(binding__binding_value__in=["phone", "watch"]).delete()
    RefreshToken.objects.filter(binding__binding_value__in=["phone", "watch"]).delete()
    assert len(rows(operator.get(CSV, {"live": "yes", "p": "2"}))) == 3


def test_the_list_leads_to_it(operator: Client, site: Site) -> None:
    page = operator.get("/admin/oauth_binding/tokenbinding/", {"q": "bob"}).content.decode()

    assert f'href="{CSV}?q=bob"' in page


def test_no_id_is_in_it(operator: Client, site: Site) -> None:
    content = operator.get(CSV).getvalue().decode()

    assert not [name for name in ("phone", "laptop", "tablet", "watch", "theirs") if name in content]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", '=HYPERLINK("https://evil.example")'])
def test_a_name_is_no_formula(operator: Client, site: Site, name: str) -> None:
    TokenBinding.objects.update(name=name)
    site.application.name = name
    site.application.save()

    for row in rows(operator.get(CSV)):
        assert (row["name"], row["application"]) == (f"'{name}", f"'{name}")


def test_no_cell_is_a_formula(operator: Client, site: Site) -> None:
    TokenBinding.objects.update(reference="-" + "a" * 42)

    assert {row["reference"] for row in rows(operator.get(CSV))} == {"'-" + "a" * 42}


def test_it_is_noted(operator: Client, site: Site) -> None:
    operator.get(CSV, {"q": "alice"})

    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Downloaded token bindings as CSV (q=alice)."
    assert entry.get_edited_object() == entry.user == User.objects.get(username="operator")


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        ([], 403),
        (["view_accesstoken", "change_application"], 403),
        (["view_tokenbinding"], 200),
        (["revoke_tokenbinding"], 200),
    ],
)
def test_who_may_look_at_bindings_may_have_it(site: Site, permissions: list[str], status: int) -> None:
    assert staff(*permissions).get(CSV).status_code == status
    assert LogEntry.objects.exists() is (status == 200)


def test_an_address_can_not_ask_for_a_secret(operator: Client, site: Site) -> None:
    assert operator.get(CSV, {"binding_value__startswith": "p"}).status_code == 400


def test_a_filter_that_makes_no_sense_leads_back_to_the_list(operator: Client, site: Site) -> None:
    answer = operator.get(CSV, {"user__id__exact": "nobody"})

    assert (answer.status_code, answer["Location"]) == (302, "/admin/oauth_binding/tokenbinding/")


def test_it_takes_as_many_queries_for_each_chunk(
    operator: Client, site: Site, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr("oauth_binding.console.exports.CHUNK", 2)
    operator.get(CSV)
    answer = operator.get(CSV)

    # The rows, their applications and users, and the live tokens of both kinds: three times.
    with django_assert_num_queries(3 * 5):
        answer.getvalue()


@pytest.mark.django_db(transaction=True)
def test_it_is_sent_bit_by_bit_under_asgi(operator: Client) -> None:
    async def lines() -> list[bytes]:
        client = AsyncClient()
        await client.aforce_login(await User.objects.aget(username="operator"))
        answer: Any = await client.get(CSV)
        assert answer.is_async
        return [line async for line in answer.streaming_content]

    (head,) = async_to_sync(lines)()

    assert head.startswith(b"id,application,")
