"""What a device sends as its ``tokenBindingId`` is a secret: an API may ask for it as a proof."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.dispatch import Signal
from django.test import Client
from django.utils import timezone

from oauth_binding import signals
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.devices import devices_of
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.devices_page import Page

CANARY = "canary-0b2f6e1c-tweets-nowhere"
#: What stands for it where it has no name.
REFERENCE = binding_reference(CANARY)[:12]
NAME = "Unnamed device"

PAGE = "/oauth2/devices/"
API = "/api/devices/"

Capture = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound(name="Mail")


@pytest.fixture
def browser(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What receivers of the signals are given, as it is logged."""
    entries: list[str] = []

    def receive(**arguments: Any) -> None:
        entries.append(repr(arguments))

    sent = [signal for signal in vars(signals).values() if isinstance(signal, Signal)]
    for signal in sent:
        signal.connect(receive)
    yield entries
    for signal in sent:
        signal.disconnect(receive)


def test_the_page_does_not_show_it(site: Site, browser: Client) -> None:
    site.bound(CANARY)
    site.bound("phone")
    (device,) = [f"binding-{b.pk}" for b in TokenBinding.objects.filter(binding_value=CANARY)]
    refused = browser.post(f"{PAGE}{device}/rename/", {"name": "x" * 101})
    pages = [browser.get(PAGE), refused]
    for page in pages:
        shown = Page(page.content.decode())
        assert REFERENCE in [entry.facts["Reference"] for entry in shown.devices]
        assert shown.names == [NAME, NAME]

    browser.post(f"{PAGE}{device}/rename/", {"name": "My phone"})
    pages.append(browser.get(PAGE))
    browser.post(f"{PAGE}{device}/rename/", {"name": ""})
    pages.append(browser.get(PAGE))
    pages.append(browser.get(f"{PAGE}{device}/sign-out/"))
    pages.append(browser.post(f"{PAGE}{device}/sign-out/", follow=True))
    assert Page(pages[-1].content.decode()).messages[-1] == f"{NAME} is signed out."
    site.bound(CANARY)
    pages.append(browser.get(f"{PAGE}?q={REFERENCE}"))
    pages.append(browser.get(f"{PAGE}sign-out-others/"))
    pages.append(browser.post(f"{PAGE}sign-out-others/", follow=True))

    assert [page.status_code for page in pages] == [200] * len(pages)
    assert [page for page in pages if CANARY.encode() in page.content] == []


@pytest.mark.skipif(not apps.is_installed("rest_framework"), reason="the API needs it")
def test_the_api_does_not_say_it(site: Site) -> None:
    read = site.bound("phone", scope="devices:read").access
    write = site.bound("phone", scope="devices:read devices:write").access
    site.bound(CANARY)
    (device,) = [f"{API}binding-{b.pk}/" for b in TokenBinding.objects.filter(binding_value=CANARY)]

    def call(method: str, path: str, token: str = write, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return Client().generic(method, path, json.dumps(body), "application/json", headers=headers)

    answers = [
        call("GET", API, read),
        call("GET", device, read),
        call("OPTIONS", device, read),
        call("PATCH", device, read, name="x"),
        call("PATCH", device),
        call("PATCH", device, name="x" * 101),
        call("PATCH", device, name="My phone"),
        call("PATCH", device, name=""),
        call("DELETE", device),
        call("GET", device),
        call("POST", f"{API}sign-out-others/"),
    ]

    assert [answer.status_code for answer in answers] == [
        *(200, 200, 200, 403, 200, 400, 200, 200, 204, 404, 200)
    ]
    shown = [device["name"] for device in (answers[n].json() for n in (1, 4, 6, 7))]
    assert shown == [NAME, NAME, "My phone", NAME]
    assert [answer for answer in answers if CANARY.encode() in answer.content] == []


def test_a_name_is_never_filled_from_it(site: Site, user: User) -> None:
    site.bound(CANARY)

    assert TokenBinding.objects.get().name == ""
    assert [device.name for device in devices_of(user)] == [NAME]


def test_neither_signals_nor_logs_have_it(
    site: Site,
    browser: Client,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with django_capture_on_commit_callbacks(execute=True):
        pair = site.bound(CANARY)
        device = f"binding-{TokenBinding.objects.get().pk}"
        site.bound(CANARY)
        site.bound(CANARY, scope="no such scope")
        site.refresh(pair.refresh, tokenBindingId="phone")
        site.refresh(pair.refresh, tokenBindingId=CANARY)
        browser.post(f"{PAGE}{device}/rename/", {"name": "x" * 101})
        browser.post(f"{PAGE}{device}/sign-out/")
        site.bound(CANARY)
        browser.post(f"{PAGE}application-0/sign-out-others/")
        browser.post(f"{PAGE}{device}/sign-out-others/")
    assert len(told) >= 3
    said = [*told, *(record.getMessage() for record in caplog.records if record.name != "django.db.backends")]

    assert [entry for entry in said if CANARY in entry] == []


def test_what_is_printed_of_devices_has_it_not(site: Site, user: User) -> None:
    site.bound(CANARY)
    TokenBinding.objects.update(last_used=timezone.now() - timedelta(days=900))
    output = StringIO()
    call_command("clearbindings", "--dry-run", stdout=output)
    call_command("clearbindings", stdout=output)
    binding = TokenBinding.objects.get()
    printed = [output.getvalue(), str(binding), repr(binding), repr(list(devices_of(user))), binding.label]

    assert [text for text in printed if CANARY in text] == []
