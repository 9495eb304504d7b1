"""What a user holds: one of each credential, and the applications that they are for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import User
from django.test import Client

from tests.helpers.client import PASSWORD, REDIRECT_URI, Answer, Site
from tests.helpers.exchange import exchange

#: All that somebody may hold that is exchanged for access or facts.
CREDENTIALS = (
    "password",
    "browser session",
    "authorization code",
    "device code",
    "access token",
    "refresh token",
    "ID token",
    "exchanged access token",
    "exchanged refresh token",
)

#: What came from one login, and from an exchange of its access token.
LOGIN = ("access token", "refresh token", "ID token")
EXCHANGED = ("exchanged access token", "exchanged refresh token")

SCOPE = "openid read devices:read"

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Kind(NamedTuple):
    """A kind of tokens."""

    is_bound: bool
    is_jwt: bool
    #: Whether they are bound to the login session of the browser, and not to a device.
    is_of_session: bool = False


@dataclass
class Applications:
    """An application of devices, and one that exchanges its tokens."""

    mobile: Site
    backend: Site
    #: It introspects.
    other: Site
    #: Somebody else, whose tokens are exchanged on behalf of actors.
    carol: User


@dataclass
class Held:
    """One of each credential of a user."""

    applications: Applications
    user: User
    #: Where the user has authorized the login, and the code that is not redeemed yet.
    browser: Client
    #: A device that waits for the user's approval.
    user_code: str
    code: dict[str, str]
    device_code: str
    #: The form that redeemed the code of the login.
    login_form: dict[str, str]
    login: Answer
    exchanged: Answer
    #: What the login is bound to, where it is.
    binding: str
    password: str = field(default=PASSWORD, repr=False)

    @property
    def mobile(self) -> Site:
        return replace(self.applications.mobile, user=self.user)

    def text(self, credential: str) -> str:
        """Return the text of a token."""
        login, exchanged = self.login, self.exchanged
        texts = {
            "access token": login["access_token"],
            "refresh token": login["refresh_token"],
            "ID token": login["id_token"],
            "exchanged access token": exchanged["access_token"],
            "exchanged refresh token": exchanged["refresh_token"],
        }
        return str(texts[credential])

    def holder(self, credential: str) -> Site:
        """Return the application that a token was issued to."""
        return self.applications.backend if credential in EXCHANGED else self.mobile

    def bound(self, form: dict[str, Any]) -> dict[str, Any]:
        """Return a token request of the same device; its identifier is ignored where nothing binds."""
        return {**form, "tokenBindingId": self.binding}


def hold(applications: Applications, user: User, scope: str = SCOPE) -> Held:
    """Let a user sign in everywhere, and keep what that gives."""
    mobile = replace(applications.mobile, user=user)
    binding = secrets.token_hex(8)
    browser = Client()
    assert browser.login(username=user.username, password=PASSWORD)
    login_form = {**mobile.authorization_code(scope, browser), "tokenBindingId": binding}
    login = mobile.post("/oauth2/token/", login_form)
    assert login.status == 200, login.data
    exchanged = exchange(applications.backend, login.access, tokenBindingId=binding)
    assert exchanged.status == 200, exchanged.data
    return Held(
        applications,
        user,
        browser,
        user_code=str(mobile.start_device(SCOPE)["user_code"]),
        # With less scope than the login, whose slot it would take where that is the browser's.
        code=mobile.authorization_code("openid read", browser),
        device_code=mobile.device_code(SCOPE),
        login_form=login_form,
        login=login,
        exchanged=exchanged,
        binding=binding,
    )


def authorize(held: Held) -> bool:
    """Return whether the user's browser gets an authorization code."""
    query = {
        "response_type": "code",
        "client_id": held.mobile.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "allow": "Authorize",
    }
    answer = held.browser.post("/oauth2/authorize/", query)
    return "code" in parse_qs(urlsplit(answer.headers.get("Location", "")).query)
