"""What is kept of a user: handing it out, and forgetting it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from oauth_binding.devices import devices_of, export_devices, forget_device_facts, rename
from oauth_binding.models import LoginSession, TokenBinding
from tests.helpers.client import PASSWORD, Site
from tests.helpers.login_sessions import login, signed_in

FIREFOX: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
CURL: Final = "curl/8.5.0"


def place(address: str) -> str:
    return "Bern"


@pytest.fixture(autouse=True)
def _wanted(settings: Any) -> None:
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": "whole", "DEVICE_PLACES": f"{__name__}.place"}


@pytest.fixture
def kept(make_bound: Callable[..., Site], user: User) -> dict[str, Any]:
    """A phone and a browser of alice, and a phone of bob."""
    alice = make_bound()
    bob = make_bound(as_user=User.objects.create_user("bob", "bob@example.com", PASSWORD))
    for site in (alice, bob):
        site.http.defaults |= {"HTTP_USER_AGENT": CURL, "REMOTE_ADDR": "203.0.113.7"}
    answers = {"alice": alice.bound("secret of alice"), "bob": bob.bound("secret of bob")}
    rename(TokenBinding.objects.get(user=user, binding_value="secret of alice"), "my phone")
    browser = signed_in(user)
    browser.defaults |= {"HTTP_USER_AGENT": FIREFOX, "REMOTE_ADDR": "2001:db8::7"}
    login(make_bound("opaque", "authorization_code"), browser)
    return {"alice": alice, "bob": bob, "answers": answers}


def run(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_all_that_is_kept_is_handed_out(kept: dict[str, Any], user: User) -> None:
    exported = export_devices(user)
    phone = next(each for each in exported if each.get("name"))
    browser = next(each for each in exported if each["kind"] == "browser")

    assert (phone["kind"], phone["name"], phone["description"]) == ("device", "my phone", "curl")
    assert phone["application"] == kept["alice"].application.client_id
    assert phone["first_address"] == phone["last_address"] == "203.0.113.7"
    assert phone["reference"] == TokenBinding.objects.get(name="my phone").reference
    assert (browser["description"], browser["last_address"]) == ("Firefox on Windows", "2001:db8::7")
    assert browser["first_place"] == "Bern"
    assert json.loads(run("bindings", "--export", "--user", "alice")) == exported
    text = json.dumps(exported)
    assert "secret" not in text
    assert str(LoginSession.objects.get().sid) not in text
    assert "bob" not in text


def test_what_is_kept_is_forgotten_and_nobody_signed_out(kept: dict[str, Any], user: User) -> None:
    forget_device_facts(user)

    texts = json.dumps(export_devices(user))
    assert not any(word in texts for word in ("my phone", "curl", "203.0", "Bern", "Firefox", "2001:"))
    assert kept["alice"].active(kept["answers"]["alice"].access)
    assert len(devices_of(user)) == 2
    assert TokenBinding.objects.get(user__username="bob", binding_value="secret of bob").description == "curl"
    kept["alice"].http.defaults["HTTP_USER_AGENT"] = FIREFOX
    kept["alice"].bound("another")
    assert "Firefox on Windows" in {device.name for device in devices_of(user)}


def test_the_command_forgets_too(kept: dict[str, Any]) -> None:
    assert run("bindings", "--forget", "--user", "bob") == "Forgotten.\n"
    assert not TokenBinding.objects.exclude(last_browser="").filter(user__username="bob").exists()
    assert TokenBinding.objects.exclude(last_browser="").filter(user__username="alice").exists()


@pytest.mark.parametrize("what", ["--export", "--forget"])
@pytest.mark.parametrize("more", [(), ("--user", "alice", "--live"), ("--user", "nobody")])
def test_the_command_does_it_for_one_user_and_all_of_it(
    kept: dict[str, Any], what: str, more: tuple[str, ...]
) -> None:
    with pytest.raises(CommandError):
        run("bindings", what, *more)
    assert TokenBinding.objects.filter(name="my phone", last_browser="curl").exists()


@pytest.mark.usefixtures("kept")
def test_what_is_switched_off_is_cleared_away(settings: Any) -> None:
    assert "were seen" not in run("clearbindings")
    settings.OAUTH_BINDING = {"DEVICE_ADDRESSES": "off", "DEVICE_PLACES": f"{__name__}.place"}
    assert "login sessions were seen would be forgotten" in run("clearbindings", "--dry-run")
    assert TokenBinding.objects.filter(last_address="203.0.113.7").exists()
    run("clearbindings")
    for model in (TokenBinding, LoginSession):
        assert {*model._base_manager.values_list("first_address", "last_address")} == {(None, None)}
        assert model._base_manager.filter(first_place="Bern", last_place="Bern").exists()
    settings.OAUTH_BINDING = {}
    run("clearbindings")
    for model in (TokenBinding, LoginSession):
        assert {*model._base_manager.values_list("first_place", "last_place")} == {("", "")}
    assert "were seen" not in run("clearbindings")
