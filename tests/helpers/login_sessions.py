"""Browsers in which users sign in to applications."""

from __future__ import annotations

from typing import Any

import jwt
from django.contrib.auth.models import User
from django.test import Client

from tests.helpers.client import Answer, Site


def signed_in(user: User) -> Client:
    """Return a browser in which a user is signed in to the server."""
    browser = Client()
    browser.force_login(user)
    return browser


def signed_in_for(user: User, seconds: int) -> Client:
    """Return a browser in which a user is signed in to the server for so many seconds."""
    browser = signed_in(user)
    session = browser.session
    session.set_expiry(seconds)
    session.save()
    return browser


def login(site: Site, browser: Client, scope: str = "openid read") -> Answer:
    """Let an application sign the user of a browser in."""
    answer = site.post("/oauth2/token/", site.authorization_code(scope, browser))
    assert answer.status == 200, answer.data
    return answer


def claims_of(answer: Answer) -> dict[str, Any]:
    """Return the claims of an ID token, which may have expired."""
    claims: dict[str, Any] = jwt.decode(answer["id_token"], options={"verify_signature": False})
    return claims
