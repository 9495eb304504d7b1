"""An API in a project without the server, and a server of somebody else that issues RFC 9068 tokens.

None of these tests may touch the database, unless it asks for it: pytest-django sees to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache

from oauth_binding.core.jose import jwk_sets, remote_document
from oauth_binding.resource_server import revocation_feed_client
from tests.helpers.resource_server import AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, Api, Issuer
from tests.helpers.servers import serve


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jwk_sets, "_remote", {})
    monkeypatch.setattr(revocation_feed_client, "_feeds", {})
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with serve(issuer.answer) as issuer.url:
        yield issuer


@pytest.fixture
def configure(issuer: Issuer, settings: Any) -> Callable[..., None]:
    """Return a function that sets OAUTH_RESOURCE_SERVER; None takes a setting out."""

    def set_options(**options: Any) -> None:
        options = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS_URL": f"{issuer.url}/jwks", **options}
        settings.OAUTH_RESOURCE_SERVER = {key: value for key, value in options.items() if value is not None}

    return set_options


@pytest.fixture
def api(configure: Callable[..., None], settings: Any) -> Api:
    """Return the API, which validates JWTs locally if nothing else is configured."""
    settings.ROOT_URLCONF = "tests.resource_server.elsewhere.urls"
    configure()
    return Api()


@pytest.fixture
def introspecting(issuer: Issuer, configure: Callable[..., None]) -> Callable[..., None]:
    """Return a function that lets the API introspect."""

    def introspect(validation: str = "introspection", **options: Any) -> None:
        required = {
            "INTROSPECTION_URL": f"{issuer.url}/introspect",
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
        }
        configure(VALIDATION=validation, **{**required, **options})

    return introspect


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that puts the clock of fetched documents forward."""
    passed = 0.0

    def later(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(remote_document, "now", lambda: time.monotonic() + passed)
    return later


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests to the issuer wait for a short time only."""
    monkeypatch.setattr(remote_document, "TIMEOUT", 0.5)
