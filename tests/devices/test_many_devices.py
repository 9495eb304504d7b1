"""Users with many devices: what they see comes in pages, and costs no more than a page."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.devices import devices_of
from oauth_binding.devices.views import PAGE_SIZE
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.rows import make_devices, make_pairs

LIST = "/oauth2/devices/"
API = "/api/devices/"

needs_rest_framework = pytest.mark.skipif(not apps.is_installed("rest_framework"), reason="the API needs it")


@pytest.fixture
def browser(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound(name="Mail")


def text_of(response: Any) -> str:
    assert response.status_code == 200
    content: bytes = response.content
    return content.decode()


def names_on(response: Any) -> list[str]:
    return [html.unescape(name) for name in re.findall(r"<h3><bdi>(.*?)</bdi>", text_of(response))]


def links_on(response: Any) -> dict[str, str]:
    """The links of the navigation, by what is read aloud."""
    found = re.findall(r'<li><a href="([^"]*\?page=\d+)".*?>(.*?)</a></li>', text_of(response))
    return {re.sub(r"<.*?>", "", name): address for address, name in found}


@pytest.fixture
def five_pages(site: Site, user: User) -> list[str]:
    """Make devices for five pages, and return their names in order."""
    number = 4 * PAGE_SIZE + 3
    for at, binding in enumerate(make_devices(user, site.application, number)):
        TokenBinding.objects.filter(pk=binding.pk).update(name=f"device {number - at}")
    return [f"device {at}" for at in range(1, number + 1)]


# The page


def test_every_device_is_on_one_page(browser: Client, five_pages: list[str]) -> None:
    pages = [browser.get(LIST)]
    while "Next" in links_on(pages[-1]):
        pages.append(browser.get(links_on(pages[-1])["Next"]))

    assert len(pages) == 5
    assert [name for page in pages for name in names_on(page)] == five_pages


def test_the_navigation_says_where_one_is(browser: Client, five_pages: list[str]) -> None:
    page = browser.get(f"{LIST}?page=2")

    assert list(links_on(page)) == ["Previous", "Page 1", "Page 2", "Page 3", "Page 4", "Page 5", "Next"]
    assert re.findall(r'\?page=(\d+)" aria-current="page"', text_of(page)) == ["2"]
    assert '<nav class="oauth-devices-pages" aria-label="Pages">' in text_of(page)
    german = browser.get(f"{LIST}?page=2", headers={"Accept-Language": "de"})
    assert list(links_on(german))[0::3] == ["Vorherige", "Seite 3", "Nächste"]


def test_few_devices_have_no_navigation(browser: Client, site: Site, user: User) -> None:
    make_devices(user, site.application, PAGE_SIZE)

    page = browser.get(LIST)

    assert len(names_on(page)) == PAGE_SIZE
    assert "<nav" not in text_of(page)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *[(number, 1) for number in ("1", "", "x", "1.5", "%00", "2%20OR%201", "9" * 5000)],
        *[(number, 5) for number in ("5", "0", "-1", "6", "9" * 30)],
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_page_that_is_not_there_is_the_first_or_the_last(
    browser: Client, five_pages: list[str], number: str, shown: int
) -> None:
    names = names_on(browser.get(f"{LIST}?page={number}"))

    assert names == five_pages[(shown - 1) * PAGE_SIZE : shown * PAGE_SIZE]


@pytest.mark.parametrize("action", ["sign-out", "rename"])
def test_one_comes_back_to_the_page_one_was_on(browser: Client, five_pages: list[str], action: str) -> None:
    page = text_of(browser.get(f"{LIST}?page=3"))
    form = re.search(rf'<form method="post" action="([^"]*/{action}/)">(.*?)</form>', page, re.S)
    assert form is not None
    assert '<input type="hidden" name="page" value="3">' in form[2]

    response = browser.post(form[1], {"page": "3", "name": "mine"})

    assert (response.status_code, response["Location"]) == (302, f"{LIST}?page=3")
    # By the last on the last page one comes back to the one before.
    *_others, last = re.findall(r'action="([^"]*/sign-out/)"', text_of(browser.get(f"{LIST}?page=5")))
    assert names_on(browser.post(last, {"page": "6"}, follow=True)) != []


@pytest.mark.parametrize("number", ["", "0", "1", "-1", "x", "9" * 5000, "2\r\nX: y", "//example.com", "٣"])
def test_what_is_no_later_page_leads_to_the_first(
    browser: Client, five_pages: list[str], number: str
) -> None:
    address = re.findall(r'action="([^"]*/sign-out/)"', text_of(browser.get(LIST)))[0]

    assert browser.post(address, {"page": number})["Location"] == LIST


def test_what_is_wrong_with_a_name_is_said_on_the_page_of_the_device(
    browser: Client, five_pages: list[str]
) -> None:
    address = re.findall(r'action="([^"]*/rename/)"', text_of(browser.get(f"{LIST}?page=3")))[-1]

    for number, first in (("3", 2 * PAGE_SIZE), ("1", 0)):
        refused = browser.post(address, {"page": number, "name": "x" * 101})
        assert "Ensure this value has at most 100 characters" in text_of(refused)
        names = five_pages[first : first + PAGE_SIZE]
        # Also where the device has moved to another page meanwhile.
        assert names_on(refused) in (names, [five_pages[3 * PAGE_SIZE - 1], *names])
    assert not TokenBinding.objects.filter(name__contains="x").exists()


def test_a_page_of_2000_devices_is_small(browser: Client, site: Site, user: User) -> None:
    make_devices(user, site.application, 2000)
    TokenBinding.objects.update(name="&" * 100)

    for number in (1, 40, 80):
        assert len(browser.get(f"{LIST}?page={number}").content) < 200_000
    assert len(links_on(browser.get(f"{LIST}?page=40"))) < 12


# What it takes


def queries_of(request: Callable[[], Any]) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text_of(request())
    return len(queries)


@pytest.mark.parametrize("path", [LIST, f"{LIST}?page=2", pytest.param(API, marks=needs_rest_framework)])
def test_the_queries_and_rows_are_those_of_a_page(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    browser: Client,
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
    few = queries_of(lambda: browser.get(path))
    for application in (mail, news):
        make_devices(user, application.application, 300)
    for _ in range(30):
        make_site(name="Others").token()

    monkeypatch.setattr(TokenBinding, "from_db", classmethod(count_bindings))
    assert queries_of(lambda: browser.get(path)) == few
    assert 0 < len(made) <= 51


# In code


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_is_that_of_the_whole(make_bound: Callable[..., Site], user: User, seed: int) -> None:
    """However devices and what is bound to nothing follow each other, also where they were used at once."""
    chance = random.Random(seed)
    now = timezone.now().replace(microsecond=0)
    for name in ("mail", "News", "a", "News", "b"):
        application = make_bound(name=name).application
        bindings = make_devices(user, application, chance.choice([0, 1, 2, 7]))
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
    order.sort(key=lambda device: (str(device.application).casefold(), str(device.application.pk)))
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
