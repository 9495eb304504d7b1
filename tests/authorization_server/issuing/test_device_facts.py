"""What is kept of a device with its binding: how it looks, where it is, and what it calls itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauth_binding.core import places
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.devices import devices_of, rename
from oauth_binding.models import TokenBinding
from oauth_binding.signals import (
    binding_created,
    demand_reported,
    token_exchanged,
    token_reused,
    token_superseded,
)
from tests.helpers.client import Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in

FIREFOX: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
SAFARI: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)
CHROME: Final = (
    "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36".format
)

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"

#: What is sent as the User-Agent, and what the device is called.
SEEN: Final = {
    FIREFOX: "Firefox on Windows",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0": "Firefox on Ubuntu",
    "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0": "Firefox on Android",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Safari/605.1.15": "Safari on Mac",
    SAFARI: "Safari on iPhone",
    CHROME("Linux; Android 14; Pixel 8"): "Chrome on Pixel 8",
    CHROME("Linux; Android 10; K"): "Chrome on Android",
    "Acme/3.1 (Android 14; Pixel 8)": "Pixel 8",
    "Acme/1.2 CFNetwork/1496.0.7 Darwin/23.5.0": "Acme on iOS",
    "curl/8.5.0": "curl",
    "okhttp/4.12.0": "okhttp",
    "python-requests/2.32.3": "Python Requests",
    "Dart/3.4 (dart:io)": "",
    "": "",
    "<script>alert(1)</script>": "",
    CHROME("Linux; Android 14; A\x1b[31m\x00\u202eB<b>"): "Chrome on Android",
    CHROME(f"Linux; Android 14; {'Pixel' * 40}"): f"Chrome on {'Pixel' * 12}Pixe",
    CHROME(f"Linux; Android 14; {'Pixel' * 2000}"): "Android",
    "; " * 5000: "",
    CHROME("Linux; Android 9; Your account is locked, see https://evil.example"): "Chrome on Android",
    CHROME("Linux; Android 9; SM-G1 locked. See www.evil.example Build/X"): "Chrome on Android",
}


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound("jwt")


@pytest.fixture(autouse=True)
def _each_address_is_new() -> Iterator[None]:
    yield
    places._ask.cache_clear()


def sends(site: Site, user_agent: str | None = None, address: str = "127.0.0.1", name: str = "") -> Site:
    """Let a client send its requests so from now on."""
    site.http.defaults["REMOTE_ADDR"] = address
    for header, value in (("HTTP_USER_AGENT", user_agent), ("HTTP_TOKEN_BINDING_NAME", name)):
        site.http.defaults.pop(header, None)
        if value:
            site.http.defaults[header] = value
    return site


def ask(site: Site, binding: str | None = "phone", **extra: Any) -> TokenBinding:
    """Return the binding of a token that a client gets."""
    answer = site.bound(binding, **extra)
    assert answer.status == 200, answer.data
    return TokenBinding.objects.get(binding_value=binding or "")


@pytest.mark.parametrize(("user_agent", "description"), SEEN.items(), ids=lambda text: text[:40] or "none")
def test_what_a_device_looks_like(site: Site, user: User, user_agent: str, description: str) -> None:
    binding = ask(sends(site, user_agent))

    assert binding.description == description
    (device,) = devices_of(user)
    assert device.description == description
    assert device.name == (description or "Unnamed device")


def test_first_and_last_use_are_kept_apart(site: Site) -> None:
    ask(sends(site, FIREFOX))
    binding = ask(sends(site, SAFARI))

    assert (binding.first_browser, binding.first_os, binding.first_device) == ("Firefox", "Windows", "")
    assert (binding.last_browser, binding.last_os, binding.last_device) == ("Safari", "iOS", "iPhone")


def test_a_refresh_and_a_token_that_is_answered_again_are_uses(make_bound: Callable[..., Site]) -> None:
    site = sends(make_bound("opaque"), FIREFOX)
    answer = site.bound("phone")
    assert ask(sends(site, SAFARI)).description == "Firefox on Windows"  # last_used was noted a moment ago
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        assert site.bound("phone").access == answer.access
    assert TokenBinding.objects.get().description == "Safari on iPhone"
    sends(site, "curl/8.5.0").refresh(answer.refresh)
    assert TokenBinding.objects.get().description == "curl"


def test_the_shared_slot_is_described_from_its_first_token_on(site: Site, user: User) -> None:
    ask(sends(site, FIREFOX))  # makes its row, to be locked
    binding = ask(sends(site, SAFARI), None)

    assert binding.first_browser == binding.last_browser == "Safari"
    assert {device.name for device in devices_of(user)} == {
        "Firefox on Windows",
        f"{site.application} on other devices",
    }


def test_of_the_device_grant_it_is_the_device_that_asks(make_bound: Callable[..., Site]) -> None:
    site = sends(make_bound("opaque", DEVICE), "okhttp/4.12.0")
    form = site.grant(tokenBindingId="tv")  # the user accepts it in a browser
    assert site.post("/oauth2/token/", form).status == 200

    assert TokenBinding.objects.get(binding_value="tv").description == "okhttp"


def test_a_client_of_its_own_is_described_too(make_bound: Callable[..., Site]) -> None:
    site = sends(make_bound("opaque", "client_credentials", as_user=None), "python-requests/2.32.3")

    assert ask(site).description == "Python Requests"


def test_tokens_of_a_login_session_are_described_as_its_browser(
    make_site: Callable[..., Site], user: User
) -> None:
    site = sends(make_site("authorization_code", token_binding_type="sso-session"), "python-requests/2.32.3")
    browser = signed_in(user)
    browser.defaults["HTTP_USER_AGENT"] = FIREFOX
    answer = login(site, browser)
    assert TokenBinding.objects.get().description == "Firefox on Windows"
    assert site.refresh(answer.refresh).status == 200
    assert TokenBinding.objects.get().description == "Firefox on Windows"


@pytest.mark.parametrize(
    ("setting", "address", "kept"),
    [
        ("off", "203.0.113.77", None),
        ("shortened", "203.0.113.77", "203.0.113.0"),
        ("whole", "203.0.113.77", "203.0.113.77"),
        ("shortened", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("whole", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("whole", "fe80::1%eth0", "fe80::1"),
        ("shortened", "::ffff:203.0.113.77", "203.0.113.0"),
        ("whole", "", None),
        ("whole", "unix:", None),
    ],
)
def test_how_much_is_kept_of_addresses(
    site: Site, settings: Any, setting: str, address: str, kept: str | None
) -> None:
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": setting}
    binding = ask(sends(site, address=address))

    assert (binding.first_address, binding.last_address) == (kept, kept)


def test_no_address_is_kept_unless_the_site_wants_it(site: Site, user: User) -> None:
    binding = ask(sends(site, FIREFOX, "203.0.113.77"))

    assert (binding.first_address, binding.last_address, binding.last_place) == (None, None, "")
    (device,) = devices_of(user)
    assert (device.address, device.place) == ("", "")


#: What the site was asked.
asked: list[str] = []


def place(address: str) -> str:
    # Nothing is locked but in a transaction, which in that of the test is a savepoint.
    assert not connection.savepoint_ids
    asked.append(address)
    if address.startswith("198."):
        raise LookupError(address)
    return "Bern\u202e\x00\nSwitzerland" + "!" * 200


@pytest.fixture
def places_are_told(settings: Any) -> None:
    asked.clear()
    settings.OAUTH_BINDING = {"DEVICE_PLACES": f"{__name__}.place"}


@pytest.mark.usefixtures("places_are_told")
def test_the_site_tells_the_place_of_the_whole_address(site: Site, user: User) -> None:
    ask(sends(site, address="203.0.113.77"))
    binding = ask(site)

    assert asked == ["203.0.113.77"]  # once
    assert binding.last_address is None
    assert binding.first_place == binding.last_place == ("Bern Switzerland" + "!" * 200)[:100]
    assert devices_of(user)[0].place == binding.last_place
    ask(sends(site, address="203.0.113.78"))
    assert asked == ["203.0.113.77", "203.0.113.78"]


@pytest.mark.usefixtures("places_are_told")
def test_a_failure_of_the_site_is_logged_and_no_matter(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    binding = ask(sends(site, FIREFOX, address="198.51.100.7"))

    assert (binding.description, binding.last_place) == ("Firefox on Windows", "")
    (message,) = (record.getMessage() for record in caplog.records if record.name == places.logger.name)
    assert "DEVICE_PLACES" in message
    assert "198.51" not in message


@pytest.mark.usefixtures("places_are_told")
def test_the_site_is_not_asked_for_who_gets_nothing(site: Site) -> None:
    assert sends(site, address="203.0.113.77").bound("phone", password="wrong").status == 400

    assert asked == []


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Alice's phone", "Alice's phone"),
        ("  Alice's phone ", "Alice's phone"),
        ("J%C3%B6rgs Handy", "Jörgs Handy"),
        ("Jörgs Handy".encode().decode("latin-1"), "Jörgs Handy"),
        ("100% mine", "100% mine"),
        ("x" * 100, "x" * 100),
        ("<b>", "<b>"),
    ],
)
def test_an_app_names_a_new_device(site: Site, user: User, sent: str, name: str) -> None:
    assert ask(sends(site, FIREFOX, name=sent)).name == name
    assert [device.name for device in devices_of(user)] == [name]


def test_a_name_is_given_once(site: Site) -> None:
    ask(site)
    assert ask(sends(site, name="phone of an app")).name == ""  # it was there before
    rename(TokenBinding.objects.get(), "mine")
    assert ask(site).name == "mine"


def test_no_name_is_for_the_shared_slot(site: Site) -> None:
    assert ask(sends(site, name="phone of an app"), None).name == ""


REFUSED: Final = {
    "x" * 101: "Token-Binding-Name has more than 100 characters.",
    "a%00b": "Token-Binding-Name has control characters.",
    "a%E2%80%AEb": "Token-Binding-Name has control characters.",
    "a%E2%80%A8b": "Token-Binding-Name has control characters.",
    "%E2%80%8B": "Token-Binding-Name has control characters.",
    "%ff": "Token-Binding-Name is not UTF-8.",
    "\u1234": "Token-Binding-Name is not UTF-8.",
    "phone": "Token-Binding-Name must not be what the token is bound to.",
    " phone ": "Token-Binding-Name must not be what the token is bound to.",
}


def says(answer: Answer, description: str) -> bool:
    return answer.status == 400 and answer.data == {
        "error": "invalid_request",
        "error_description": description,
    }


@pytest.mark.parametrize(("sent", "description"), REFUSED.items())
def test_what_can_be_no_name_is_refused_before_anything_is_consumed(
    make_bound: Callable[..., Site], sent: str, description: str
) -> None:
    site = make_bound("jwt", "authorization_code")
    form = {**site.authorization_code(), "tokenBindingId": "phone"}
    assert says(sends(site, name=sent).post("/oauth2/token/", form), description)
    assert not TokenBinding.objects.exists()

    answer = sends(site).post("/oauth2/token/", form)
    assert answer.status == 200
    sends(site, name=sent)
    refused = site.refresh(answer.refresh)
    assert refused.status == (200 if "phone" in sent else 400), refused.data
    if refused.status == 400:
        assert sends(site).refresh(answer.refresh).status == 200


def test_an_application_that_binds_nothing_may_send_anything(make_site: Callable[..., Site]) -> None:
    assert sends(make_site(), FIREFOX, name="x" * 1000).token().status == 200


class Told:
    """What the receiver of a signal has got."""

    def __init__(self, signal: Any) -> None:
        self.facts: list[DeviceFacts | None] = []
        signal.connect(self.receive)

    def receive(self, facts: DeviceFacts | None, **kwargs: Any) -> None:
        self.facts.append(facts)


def test_signals_have_the_facts(
    make_bound: Callable[..., Site], settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": "shortened"}
    facts = DeviceFacts(browser="Firefox", os="Windows", address="203.0.113.0")
    told = [
        Told(signal)
        for signal in (binding_created, token_reused, token_superseded, demand_reported, token_exchanged)
    ]
    opaque = sends(
        make_bound("opaque", require_sender_constraint="report", sender_constraint="dpop"), FIREFOX
    )
    jwt = make_bound("jwt", additional_grant_types="token-exchange")
    for site in (opaque, jwt):
        sends(site, FIREFOX, "203.0.113.77")
        with django_capture_on_commit_callbacks(execute=True):
            site.bound("phone")
            answer = site.bound("phone")
    with django_capture_on_commit_callbacks(execute=True):
        allow(jwt, jwt)
        assert exchange(jwt, answer.access).status == 200

    assert all(each.facts for each in told)
    assert {seen for each in told for seen in each.facts} == {facts}


def test_describing_a_device_takes_no_query(make_bound: Callable[..., Site], settings: Any) -> None:
    numbers = []
    for how, user_agent in (("off", None), ("whole", FIREFOX)):
        settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": how}
        site = sends(make_bound("jwt"), user_agent, "203.0.113.77")
        site.bound("phone")
        with CaptureQueriesContext(connection) as queries:
            assert site.bound("phone").status == 200
        numbers.append(len(queries))

    assert TokenBinding.objects.filter(last_address="203.0.113.77").exists()
    assert numbers[0] == numbers[1]
