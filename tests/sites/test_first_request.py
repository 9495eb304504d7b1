"""Whatever a process is asked first, it answers everything else as a fresh process does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from django.db import connection

from tests.concurrency.site import (
    CLIENT_SECRET,
    DEVICES,
    LOGGING_IN,
    PASSWORD,
    USERNAME,
    another_server,
    running_site,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="a process keeps the same on each database"),
]

#: What the user allows the token that the doors are tried with.
SCOPE: Final = "openid read devices:read devices:write"


def client(sender: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{sender}:{CLIENT_SECRET}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def post(address: str, path: str, sender: str = LOGGING_IN[0], **form: str) -> int:
    answer = requests.post(f"{address}{path}", form, headers=client(sender), timeout=30)
    return answer.status_code


def get(address: str, path: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(f"{address}{path}", headers=headers, timeout=30, allow_redirects=False).status_code


#: What is asked for, with a token of the user's.
ENDPOINTS: Final[dict[str, Callable[[str, str], int]]] = {
    "token": lambda address, token: post(
        address, "/oauth2/token/", grant_type="password", username=USERNAME, password=PASSWORD
    ),
    "introspection": lambda address, token: post(address, "/oauth2/introspect/", token=token),
    "revocation": lambda address, token: post(address, "/oauth2/revoke_token/", token="unknown"),
    "device authorization": lambda address, token: post(
        address, "/oauth2/device-authorization/", DEVICES[0], client_id=DEVICES[0], scope="read"
    ),
    "userinfo": lambda address, token: get(address, "/oauth2/userinfo/", token),
    "API": lambda address, token: get(address, "/api/me/", token),
    "devices API": lambda address, token: get(address, "/api/devices/", token),
    "metadata": lambda address, token: get(address, "/oauth2/.well-known/oauth-authorization-server"),
    "OpenID configuration": lambda address, token: get(address, "/oauth2/.well-known/openid-configuration"),
    "JWK set": lambda address, token: get(address, "/oauth2/.well-known/jwks.json"),
    "revocation feed": lambda address, token: get(address, "/oauth2/revoked-tokens/"),
    "authorization": lambda address, token: get(address, "/oauth2/authorize/?client_id=x"),
    "device approval": lambda address, token: get(address, "/oauth2/device/"),
    "applications": lambda address, token: get(address, "/oauth2/applications/"),
    "devices page": lambda address, token: get(address, "/oauth2/devices/"),
    "admin": lambda address, token: get(address, "/admin/"),
}

SENT_TO_THE_LOGIN: Final = {"authorization", "device approval", "applications", "devices page", "admin"}


def test_any_order(tmp_path: Path) -> None:
    expected = {name: 302 if name in SENT_TO_THE_LOGIN else 200 for name in ENDPOINTS}
    answered: dict[str, Any] = {}
    with running_site(tmp_path) as site:
        site.run(
            "from oauth2_provider.models import Application; Application.objects.update(algorithm='RS256');"
            "result = None"
        )
        form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD, "scope": SCOPE}
        login = requests.post(
            f"{site.address}/oauth2/token/", form, headers=client(LOGGING_IN[0]), timeout=30
        ).json()
        for first in ENDPOINTS:
            with another_server(site, first.replace(" ", "-")) as process:
                order = [first, *(name for name in ENDPOINTS if name != first)]
                answers = {name: ENDPOINTS[name](process.address, login["access_token"]) for name in order}
            answered[first] = {name: answers[name] for name in expected}
    assert answered == dict.fromkeys(ENDPOINTS, expected)
