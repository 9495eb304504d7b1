"""Small factories: applications, users, and a client that speaks OAuth to the site over HTTP."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_refresh_token_model,
)

from tests.project import Project

#: What is about Django REST framework is not collected where it is not installed.
collect_ignore = (
    ["test_apis.py", "test_devices_api.py", "test_openapi.py", "resource_server"]
    if find_spec("rest_framework") is None
    else []
)

PASSWORD = "correct horse battery staple"
SECRET = "a-client-secret-of-some-length"
REDIRECT_URI = "https://client.example/callback"

#: grant_type of the token request -> the application's authorization_grant_type
GRANTS = {
    "password": "password",
    "client_credentials": "client-credentials",
    "authorization_code": "authorization-code",
    "urn:ietf:params:oauth:grant-type:device_code": "urn:ietf:params:oauth:grant-type:device_code",
}


@dataclass
class Answer:
    """What an endpoint answered."""

    status: int
    data: dict[str, Any]
    headers: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    @property
    def access(self) -> str:
        return str(self.data["access_token"])

    @property
    def refresh(self) -> str:
        return str(self.data["refresh_token"])

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of a JWT access token, verified as its API would."""
        return verify_jwt(self.access)


def public_key() -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = str(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"])
    return load_pem_private_key(pem.encode(), None).public_key()


def verify_jwt(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token, public_key(), algorithms=["RS256"], options={"verify_aud": False, "require": ["exp", "iat"]}
    )
    return claims


@dataclass
class Site:
    """A client application talking to the site; every method is an HTTP request."""

    application: Any
    user: User | None = None
    secret: str = SECRET
    http: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))

    def basic(self) -> dict[str, str]:
        credentials = f"{self.application.client_id}:{self.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}

    def post(
        self, path: str, form: Any, *, authenticate: bool = True, headers: dict[str, str] | None = None
    ) -> Answer:
        """Post a form: a dict, a list of pairs, or an encoded string."""
        body = form if isinstance(form, str) else urlencode(form)
        response = self.http.post(
            path,
            body,
            content_type="application/x-www-form-urlencoded",
            headers={**(self.basic() if authenticate else {}), **(headers or {})},
        )
        try:
            data = json.loads(response.content) if response.content else {}
        except ValueError:
            data = {}
        return Answer(response.status_code, data, dict(response.headers))

    def grant(self, **extra: Any) -> list[tuple[str, str]]:
        """Return the form of a valid token request for the application's grant, but for what is extra."""
        kind = self.application.authorization_grant_type
        form: dict[str, Any]
        if kind == "password":
            assert self.user is not None
            form = {"grant_type": "password", "username": self.user.username, "password": PASSWORD}
        elif kind == "client-credentials":
            form = {"grant_type": "client_credentials"}
        elif kind == "authorization-code":
            form = self.authorization_code(scope=extra.pop("scope", "read write"))
        else:
            form = {"grant_type": kind, "device_code": self.device_code(extra.pop("scope", "read write"))}
        form |= extra
        return [
            (name, item)
            for name, value in form.items()
            for item in (value if isinstance(value, list) else [value])
        ]

    def token(self, *, path: str = "/oauth2/token/", **extra: Any) -> Answer:
        """Request a token with the application's grant."""
        return self.post(path, self.grant(**extra))

    def bound(self, binding: str | None, **extra: Any) -> Answer:
        """Request a token with a tokenBindingId, or without one."""
        return self.token(**extra) if binding is None else self.token(tokenBindingId=binding, **extra)

    def refresh(self, refresh_token: str, **extra: str) -> Answer:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **extra}
        return self.post("/oauth2/token/", form)

    def introspect(self, token: str) -> Answer:
        return self.post("/oauth2/introspect/", {"token": token})

    def active(self, token: str) -> bool:
        answer = self.introspect(token)
        assert answer.status == 200
        if not answer["active"]:
            assert answer.data == {"active": False}
        return bool(answer["active"])

    def revoke(self, token: str, **extra: str) -> Answer:
        return self.post("/oauth2/revoke_token/", {"token": token, **extra})

    def api(self, token: str) -> int:
        """Call an API with the token, and return the status."""
        return self.http.get("/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code

    def authorization_code(self, scope: str = "read write", **extra: str) -> dict[str, str]:
        """Sign in, consent, and return the form that redeems the code."""
        assert self.user is not None
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        browser = Client()
        browser.force_login(self.user)
        query = {
            "response_type": "code",
            "client_id": self.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": scope,
            "state": "xyz",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **extra,
        }
        response = browser.post("/oauth2/authorize/", {**query, "allow": "Authorize"})
        code = parse_qs(urlsplit(response["Location"]).query)["code"][0]
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": verifier,
        }

    def device_code(self, scope: str = "read write") -> str:
        """Start a device flow, let the user accept it in a browser, and return the device code."""
        started = self.start_device(scope)
        self.accept_device(started["user_code"])
        return str(started["device_code"])

    def start_device(self, scope: str = "read write") -> Answer:
        """Start a device flow; the answer has a code for the device and one for the user."""
        form = {"client_id": self.application.client_id, "scope": scope}
        started = self.post("/oauth2/device-authorization/", form)
        assert started.status == 200, started.data
        return started

    def accept_device(self, user_code: str) -> None:
        """Let the user accept a device in a browser."""
        assert self.user is not None
        browser = Client()
        browser.force_login(self.user)
        page = browser.post("/oauth2/device/", {"user_code": user_code})
        browser.post(page["Location"], {"action": "accept"})
        assert get_device_grant_model().objects.get(user_code=user_code).status == "authorized"


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("alice", "alice@example.com", PASSWORD)


@pytest.fixture
def make_database(tmp_path: Path, django_db_blocker: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Return a factory of empty databases on the server that the suite runs on."""
    names = []

    def make() -> dict[str, Any]:
        name = f"oauth_binding_{secrets.token_hex(8)}"
        names.append(name)
        database: dict[str, Any] = {**connection.settings_dict, "NAME": name}
        if connection.vendor == "sqlite":
            database["NAME"] = str(tmp_path / f"{name}.sqlite3")
            # Nothing here has to survive a power cut.
            database["OPTIONS"] = {
                **database["OPTIONS"],
                "timeout": 20,
                "init_command": "PRAGMA synchronous = OFF",
            }
        else:
            with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        return database

    yield make
    if connection.vendor != "sqlite":
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            for name in names:
                cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def project(tmp_path: Path, make_database: Callable[[], dict[str, Any]]) -> Iterator[Project]:
    """Return a site of its own, whose processes end before its databases go."""
    project = Project(tmp_path)
    yield project
    project.end()


_numbers = itertools.count()


@pytest.fixture
def make_site(user: User) -> Callable[..., Site]:
    """Return a factory of client applications; keyword arguments are fields of the application."""

    def make(grant_type: str = "password", *, as_user: User | None = user, **fields: Any) -> Site:
        kind = GRANTS.get(grant_type, grant_type)
        application = get_application_model().objects.create(
            **{
                "name": f"application {next(_numbers)}",
                "client_type": "confidential",
                "authorization_grant_type": kind,
                "client_secret": SECRET,
                "hash_client_secret": False,
                "redirect_uris": REDIRECT_URI,
                "algorithm": "RS256",
                **fields,
            }
        )
        return Site(application, as_user)

    return make


@pytest.fixture
def make_bound(make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Return a factory of client applications with client-request binding."""

    def make(token_type: str = "opaque", grant_type: str = "password", **fields: Any) -> Site:
        return make_site(
            grant_type, **{"token_type": token_type, "token_binding_type": "client-request", **fields}
        )

    return make


@contextmanager
def provider(**entries: Any) -> Iterator[None]:
    """Change OAUTH2_PROVIDER for a while."""
    with override_settings(OAUTH2_PROVIDER={**settings.OAUTH2_PROVIDER, **entries}):
        yield


def expire(token: str) -> None:
    """Let an access token expire."""
    row = access_token_row(token)
    row.expires = timezone.now() - timedelta(seconds=1)
    row.save()


def access_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    return get_access_token_model().objects.get(token_checksum=checksum)


def refresh_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    rows = get_refresh_token_model().objects.filter(token_checksum=checksum)
    return rows.order_by("revoked").first()


def is_jwt(token: str) -> bool:
    return re.fullmatch(r"ey[\w-]+\.[\w-]+\.[\w-]+", token) is not None
