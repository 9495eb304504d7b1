"""Users with many devices: what they see comes in pages, and costs no more than a page."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.devices import devices_of, live_bindings
from oauth_binding.devices.views import PAGE_SIZE
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.devices_page import LIST, Page, UserAgent
from tests.helpers.rows import make_devices, make_pairs

API = "/api/devices/"

needs_rest_framework = pytest.mark.skipif(not apps.is_installed("rest_framework"), reason="the API needs it")


@pytest.fixture
def browser(user: User) -> UserAgent:
    return UserAgent(user)


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound(name="Mail")


@pytest.fixture
def five_pages(site: Site, user: User) -> list[str]:
    """Make devices for five pages, and return their names in order."""
    number = 4 * PAGE_SIZE + 3
    for at, binding in enumerate(make_devices(user, site.application, number)):
        TokenBinding.objects.filter(pk=binding.pk).update(name=f"device {number - at}")
    return [f"device {at}" for at in range(1, number + 1)]


# The page


def test_every_device_is_on_one_page(browser: UserAgent, five_pages: list[str]) -> None:
    pages = [browser.open()]
    while "Next" in pages[-1].links():
        pages.append(browser.open(pages[-1].links()["Next"]))

    assert len(pages) == 5
    assert [name for page in pages for name in page.names] == five_pages


def test_the_navigation_says_where_one_is(browser: UserAgent, five_pages: list[str]) -> None:
    page = browser.open(f"{LIST}?page=2")

    assert list(page.links()) == ["Previous", "Page 1", "Page 2", "Page 3", "Page 4", "Page 5", "Next"]
    assert f'<a href="{LIST}?page=2" aria-current="page">' in page.markup
    assert page.markup.count("aria-current") == 1
    german = browser.open(f"{LIST}?page=2", headers={"Accept-Language": "de"})
    assert list(german.links("Seiten der Geräte"))[0::3] == ["Vorherige", "Seite 3", "Nächste"]


def test_few_devices_have_no_navigation_and_no_search(browser: UserAgent, site: Site, user: User) -> None:
    make_devices(user, site.application, PAGE_SIZE)
    page = browser.open()
    assert len(page.names) == PAGE_SIZE
    assert "<nav" not in page.markup
    assert 'role="search"' not in page.markup

    make_devices(user, site.application, 1)
    assert 'role="search"' in browser.open().markup


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *[(number, 1) for number in ("1", "", "x", "1.5", "%00", "2%20OR%201", "9" * 5000)],
        *[(number, 5) for number in ("5", "0", "-1", "6", "9" * 30)],
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_page_that_is_not_there_is_the_first_or_the_last(
    browser: UserAgent, five_pages: list[str], number: str, shown: int
) -> None:
    names = browser.open(f"{LIST}?page={number}").names

    assert names == five_pages[(shown - 1) * PAGE_SIZE : shown * PAGE_SIZE]


@pytest.mark.parametrize("query", ["page=3", "q=device&page=3", "q=device", "browsers=2&page=3"])
def test_one_comes_back_to_where_one_was(browser: UserAgent, five_pages: list[str], query: str) -> None:
    back = f"?{query}".replace("browsers=2&page=3", "page=3&browsers=2")
    device, another = browser.open(f"{LIST}?{query}").devices[:2]

    assert device.sign_out.endswith(f"/sign-out/{back}")
    assert f'href="{LIST}{back}"'.replace("&", "&amp;") in browser.open(device.sign_out).markup
    for response in (browser.post(device.sign_out), browser.post(another.rename, name="device mine")):
        assert (response.status_code, response["Location"]) == (302, f"{LIST}{back}")


def test_by_the_last_on_the_last_page_one_comes_back_to_the_one_before(
    browser: UserAgent, five_pages: list[str]
) -> None:
    for device in browser.open(f"{LIST}?page=5").devices:
        after = browser.post(device.sign_out)

    assert Page(browser.http.get(after["Location"]).content.decode()).names == five_pages[3 * PAGE_SIZE : -3]


@pytest.mark.parametrize("number", ["", "0", "1", "-1", "x", "9" * 5000, "2\r\nX: y", "//example.com", "٣"])
def test_what_is_no_later_page_leads_to_the_first(
    browser: UserAgent, five_pages: list[str], number: str
) -> None:
    address = browser.open().devices[0].sign_out

    query = urlencode({"page": number, "browsers": number, "next": "//example.com"})
    assert browser.post(f"{address}?{query}")["Location"] == LIST


def test_what_is_wrong_with_a_name_is_said_on_the_page_of_the_device(
    browser: UserAgent, five_pages: list[str]
) -> None:
    address = browser.open(f"{LIST}?page=3").devices[-1].rename.partition("?")[0]

    for number, first in (("3", 2 * PAGE_SIZE), ("1", 0)):
        refused = browser.post(f"{address}?page={number}", name="x" * 101)
        assert "Ensure this value has at most 100 characters" in refused.content.decode()
        names = five_pages[first : first + PAGE_SIZE]
        # Also where the device has moved to another page meanwhile.
        shown = Page(refused.content.decode()).names
        assert shown in (names, [five_pages[3 * PAGE_SIZE - 1], *names])
    assert not TokenBinding.objects.filter(name__contains="x").exists()


def test_a_page_of_2000_devices_is_small(browser: UserAgent, site: Site, user: User) -> None:
    make_devices(user, site.application, 2000)
    TokenBinding.objects.update(name="&" * 100)

    for number in (1, 40, 80):
        assert len(browser.open(f"{LIST}?page={number}").markup) < 200_000
    assert len(browser.open(f"{LIST}?page=40").links()) < 12


# Finding one


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("phone", ["My phone"]),
        ("PHO", ["My phone"]),
        ("  my   phone ", ["My phone"]),
        ("phone mine", []),
        ("firefox", ["Firefox on Windows"]),
        ("Firefox on Windows", ["Firefox on Windows"]),
        ("news", ["News on unknown devices", "tablet"]),
        ("tablet News", ["tablet"]),
        ("News unknown", ["News on unknown devices"]),
        ("other-client", ["watch"]),
        ("%", []),
        ("_", []),
        ("' OR 1=1 --", []),
    ],
)
def test_devices_are_found_by_name_looks_and_application(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    browser: UserAgent,
    user: User,
    search: str,
    found: list[str],
) -> None:
    mail, news, unnamed = make_bound(name="Mail"), make_bound(name="News"), make_bound(name="")
    unnamed.application.client_id = "other-client"
    unnamed.application.save()
    for site, facts in (
        (unnamed, {"name": "watch"}),
        (mail, {"last_browser": "Firefox", "last_os": "Windows"}),
        (mail, {"name": "My phone"}),
        (news, {"name": "tablet"}),
    ):
        (device,) = make_devices(user, site.application, 1)
        TokenBinding.objects.filter(pk=device.pk).update(**facts)
    make_pairs(user, news.application, [None])

    page = browser.open(f"{LIST}?{urlencode({'q': search})}")

    assert sorted(page.names) == sorted(found)
    number = "one device or browser" if len(found) == 1 else f"{len(found)} devices and browsers"
    assert f"Found: {number}." in page.text
    assert "Show all" in page.text


def test_a_device_is_found_by_the_reference_that_is_shown(browser: UserAgent, five_pages: list[str]) -> None:
    device = browser.open(f"{LIST}?page=4").devices[5]

    found = browser.open(f"{LIST}?{urlencode({'q': device.facts['Reference']})}")

    assert found.names == [device.name]


def test_what_is_found_comes_in_pages_too(browser: UserAgent, five_pages: list[str]) -> None:
    pages = [browser.open(f"{LIST}?q=device")]
    while "Next" in pages[-1].links():
        pages.append(browser.open(pages[-1].links()["Next"]))

    assert [name for page in pages for name in page.names] == five_pages
    assert len(pages) == 5


@pytest.mark.parametrize("search", ["x" * 101, "a\x00b"], ids=["long", "null"])
def test_what_cannot_be_looked_for_is_said(browser: UserAgent, five_pages: list[str], search: str) -> None:
    page = browser.open(f"{LIST}?{urlencode({'q': search})}")

    assert 'class="errorlist"' in page.markup
    assert page.names == five_pages[:PAGE_SIZE]
    assert "Found:" not in page.text


def test_what_is_too_long_is_in_no_link(browser: UserAgent, five_pages: list[str]) -> None:
    page = browser.open(f"{LIST}?{urlencode({'q': 'x' * 5000})}")

    assert "x" * 200 not in page.markup


def test_words_of_every_language_are_found_as_they_are_written(
    browser: UserAgent, site: Site, user: User
) -> None:
    for name in ("Straße", "Ärger", "İstanbul"):
        (device,) = make_devices(user, site.application, 1)
        TokenBinding.objects.filter(pk=device.pk).update(name=name)

        assert browser.open(f"{LIST}?{urlencode({'q': name})}").names == [name]


def test_of_other_users_nothing_is_found(five_pages: list[str]) -> None:
    mallory = UserAgent(User.objects.create_user("mallory"))

    assert mallory.open(f"{LIST}?q=device").devices == []
    assert mallory.open(f"{LIST}?q=Mail").devices == []


# What it takes


def queries_of(request: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert request().status_code == 200
    return len(queries)


def test_many_are_not_counted_to_the_end(
    browser: UserAgent, five_pages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And yet one comes to each of them."""
    total = len(five_pages)
    monkeypatch.setattr(live_bindings, "COUNTED", 30)
    shown = []
    for number in range(1, 8):
        page = browser.http.get(LIST, {"page": number}).context["page_obj"]
        shown += [device.id for device in page.object_list]
        assert page.paginator.count == min(total, 25 * number + 30)
        if not page.has_next():
            break
    assert len(shown) == len(set(shown)) == total

    words = {"q": "device"}
    found = browser.http.get(LIST, words)
    assert (found.context["number_found"], found.context["more_found_than"]) in {(None, 54), (total, None)}
    assert "more than 54" in found.content.decode()
    monkeypatch.setattr(live_bindings, "COUNTED", 1000)
    assert "more than" not in browser.http.get(LIST, words).content.decode()


@pytest.mark.parametrize("dead", [0, 5])
def test_those_without_live_tokens_are_passed_over(
    make_bound: Callable[..., Site], user: User, monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    """However many there are, and wherever they stand."""
    monkeypatch.setattr(live_bindings, "_FIRST_LOOK", 3)
    monkeypatch.setattr(live_bindings, "CHUNK_SIZE", 2)
    application = make_bound().application
    bindings = make_devices(user, application, 40)
    now = timezone.now().replace(microsecond=0)
    expected = []
    for number, binding in enumerate(bindings):
        # Some were used at the same moment.
        TokenBinding.objects.filter(pk=binding.pk).update(last_used=now - timedelta(seconds=number // 3))
        if dead and number % 7 < dead:
            for model in (get_refresh_token_model(), get_access_token_model()):
                model.objects.filter(binding=binding).delete()
        else:
            expected.append((-(number // 3), binding.pk))
    expected.sort(reverse=True)

    devices = devices_of(user)
    pks = [device.binding.pk for device in devices if device.binding is not None]
    assert pks == [pk for _seconds, pk in expected]
    assert len(devices_of(user)) == len(expected)
    assert [device.binding.pk for device in devices_of(user)[3:5] if device.binding] == pks[3:5]


@pytest.mark.parametrize(
    "path", [LIST, f"{LIST}?page=2", f"{LIST}?q=m", pytest.param(API, marks=needs_rest_framework)]
)
def test_the_queries_and_rows_are_those_of_a_page(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    browser: UserAgent,
    user: User,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mail, news = make_bound(name="Mail"), make_bound(name="News")
    made: list[Any] = []
    from_db = TokenBinding.from_db.__func__  # type: ignore[attr-defined]

    def count_bindings(model: Any, *arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        return from_db(model, *arguments, **options)

    for application in (mail, news):
        make_devices(user, application.application, 15)
        application.application.token_binding_type = "none"
        application.application.save()
        application.token()
    # They are counted so far, and it takes no more to know that there are others.
    monkeypatch.setattr(live_bindings, "COUNTED", 5)
    few = queries_of(lambda: browser.http.get(path))
    for application in (mail, news):
        make_devices(user, application.application, 300)
    for _ in range(30):
        make_site(name="Others").token()

    monkeypatch.setattr(TokenBinding, "from_db", classmethod(count_bindings))
    assert queries_of(lambda: browser.http.get(path)) == few
    assert 0 < len(made) <= 51


# In code


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_is_that_of_the_whole(make_bound: Callable[..., Site], user: User, seed: int) -> None:
    """However devices and what is bound to nothing follow each other, also where they were used at once."""
    chance = random.Random(seed)
    now = timezone.now().replace(microsecond=0)
    for name in ("mail", "News", "a", "News", "b"):
        application = make_bound(name=name).application
        bindings = make_devices(user, application, chance.choice([0, 1, 2, 4]))
        for binding in bindings:
            ago = timedelta(seconds=chance.randrange(6))
            TokenBinding.objects.filter(pk=binding.pk).update(last_used=now - ago)
        if chance.random() < 0.7:
            make_pairs(user, application, [None])
            for model in (get_access_token_model(), get_refresh_token_model()):
                ago = timedelta(seconds=chance.randrange(6))
                model.objects.filter(application=application, binding=None).update(updated=now - ago)
    whole = list(devices_of(user))
    total = len(whole)

    order = sorted(whole, key=lambda device: device.last_used, reverse=True)
    assert [device.id for device in whole] == [device.id for device in order]
    assert len({device.id for device in whole}) == total
    for start in range(total + 2):
        for stop in range(start, total + 2):
            assert devices_of(user)[start:stop] == whole[start:stop], (start, stop)
    devices = devices_of(user)
    assert [devices[at] for at in range(-total, total)] == whole * 2
    assert devices[::-1] == whole[::-1]
    assert whole[0] in devices
    with pytest.raises(IndexError):
        devices[total]


def test_it_is_empty_where_the_user_is_signed_in_nowhere(user: User) -> None:
    assert not devices_of(user)
    assert list(devices_of(user)) == devices_of(user)[:50] == []
