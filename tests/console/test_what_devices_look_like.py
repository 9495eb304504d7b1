"""Operators and users see what devices and browsers look like, whatever these say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from django.contrib.auth.models import User
from django.test import Client

from oauth_binding.models import LoginSession, TokenBinding
from tests.helpers.client import Site
from tests.helpers.login_sessions import login, signed_in

HOSTILE: Final = (
    "Mozilla/5.0 (Linux; Android 14; <img src=x>\u202e\x07) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Mobile Safari/537.36"
)
SHOWN: Final = "Chrome on &lt;img src=x&gt;"


@pytest.fixture
def alice(make_bound: Callable[..., Site], user: User) -> Client:
    """Return the browser of alice, who has a device and a login session."""
    site = make_bound("opaque", "authorization_code")
    browser = signed_in(user)
    for http in (site.http, browser):
        http.defaults["HTTP_USER_AGENT"] = HOSTILE
    login(site, browser)
    assert site.bound("phone").status == 200
    for model in (TokenBinding, LoginSession):
        assert set(model.objects.values_list("last_device", flat=True)) == {""}  # that is no device
        model.objects.update(last_device="<img src=x>")  # as another program may write it
    return browser


def test_what_they_say_is_shown_as_text(alice: Client, admin_client: Client) -> None:
    pages = [
        *(admin_client.get(f"/admin/oauth_binding/{name}/") for name in ("tokenbinding", "loginsession")),
        alice.get("/oauth2/devices/"),
    ]

    for page in pages:
        text = page.content.decode()
        assert SHOWN in text
        assert not any(bad in text for bad in ("<img src=x", "\u202e", "\x07"))


def test_the_page_of_a_binding_says_it(alice: Client, admin_client: Client) -> None:
    for binding in TokenBinding.objects.all():
        page = admin_client.get(f"/admin/oauth_binding/tokenbinding/{binding.pk}/change/")
        assert SHOWN in page.content.decode()
