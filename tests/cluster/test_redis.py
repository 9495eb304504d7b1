"""A site whose used proofs, answers and counts are in Redis, and a Redis that is not as it should be.

docs/processes.md has the same as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from oauth_binding.models import TokenPolicy
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.dpop import DeviceKey
from tests.helpers.redis_server import PROGRAM, RedisServer, redis_server
from tests.helpers.resource_server import AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, Api, Issuer
from tests.helpers.servers import serve

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="needs redis-server")]

TOKEN = "/oauth2/token/"
ME = "/api/me/"
DEVICES = "/api/devices/"
PAGE = "/oauth2/devices/"


def restart(server: RedisServer) -> None:
    server.stop()
    server.start()


@dataclass(frozen=True)
class Case:
    """Something that happens to Redis, and what becomes of the site's requests then."""

    happen: Callable[[RedisServer], None]
    #: Statuses at the token endpoint and at an API: of a proof that was used before, and of a new one.
    used: tuple[int, int]
    new: tuple[int, int]
    #: How often the introspection endpoint is asked by two requests with a token whose answer was kept, and
    #: by two with a new one.
    asked: tuple[int, int]
    #: The status of a request to the devices that is one too many.
    too_many: int
    has_folder: bool = False


_REFUSED, _LET_IN, _UNAVAILABLE = (400, 401), (200, 200), (503, 503)

CASES = {
    "is restarted": Case(restart, _LET_IN, _LET_IN, (1, 1), 200),
    "is restarted, with a file": Case(restart, _REFUSED, _LET_IN, (0, 1), 429, has_folder=True),
    "is full, and evicts nothing": Case(RedisServer.fill, _UNAVAILABLE, _UNAVAILABLE, (0, 2), 429),
    "is full, and evicts": Case(RedisServer.throw_out, _LET_IN, _LET_IN, (1, 1), 200),
    "hangs": Case(RedisServer.hang, _UNAVAILABLE, _UNAVAILABLE, (2, 2), 200),
    "is killed": Case(RedisServer.stop, _UNAVAILABLE, _UNAVAILABLE, (2, 2), 200),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def redis(case: Case, tmp_path: Path, settings: Any) -> Iterator[RedisServer]:
    """A Redis server that is the default cache, as the documentation has it."""
    with redis_server(tmp_path if case.has_folder else None) as server:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": server.url,
                "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
            }
        }
        yield server


def test_proofs(case: Case, redis: RedisServer, user: User, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "DPOP_REPLAY_CACHE": "default"}
    site, key = Site(make_application("opaque"), user), DeviceKey()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    errors = {200: None, 400: "invalid_dpop_proof", 503: "temporarily_unavailable"}

    def send(proof: str) -> tuple[int, str]:
        answer = site.post(TOKEN, site.grant(), headers={"DPoP": proof})
        assert answer.data.get("error") == errors[answer.status]
        return answer.status, answer.data.get("access_token", "")

    def call(headers: dict[str, str]) -> int:
        return site.http.get(ME, headers=headers).status_code

    used = key.proof("POST", TOKEN)
    status, access = send(used)
    used_headers = key.headers("GET", ME, access)
    assert (status, call(used_headers)) == (200, 200)
    assert (send(used)[0], call(used_headers)) == _REFUSED

    case.happen(redis)

    assert (send(used)[0], call(used_headers)) == case.used
    new = key.proof("POST", TOKEN), key.headers("GET", ME, access)
    assert (send(new[0])[0], call(new[1])) == case.new
    if case.new == _LET_IN:
        assert (send(new[0])[0], call(new[1])) == _REFUSED
    # Who proves nothing is not concerned.
    assert site.token().status == 200


def test_answers_of_the_introspection_endpoint(case: Case, redis: RedisServer, settings: Any) -> None:
    """No request fails for the cache, and none is answered by what can't be known."""
    issuer = Issuer()
    settings.ROOT_URLCONF = "tests.resource_server.elsewhere.urls"
    with serve(issuer.answer) as url:
        settings.OAUTH_RESOURCE_SERVER = {
            "ISSUER": ISSUER,
            "AUDIENCE": AUDIENCE,
            "VALIDATION": "introspection",
            "INTROSPECTION_URL": f"{url}/introspect",
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
        }
        for token in ("kept", "new"):
            issuer.active[token] = {"active": True, "scope": "read", "client_id": "mobile", "sub": "alice"}
        api = Api()
        assert [api.call("kept").status for _ in range(2)] == [200, 200]
        assert len(issuer.asked) == 1

        case.happen(redis)

        for token, asked in zip(("kept", "new"), case.asked, strict=True):
            issuer.asked.clear()
            assert [api.call(token).status for _ in range(2)] == [200, 200]
            assert len(issuer.asked) == asked
        if case.asked == (2, 2):
            del issuer.active["kept"]
            assert api.call("kept").status == 401


def test_the_limit_of_requests_to_the_devices(
    case: Case, redis: RedisServer, make_bound: Callable[..., Site], settings: Any
) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"devices": "2/hour"}}
    access = make_bound().bound("phone", scope="devices:read").access
    client = Client(headers={"Authorization": f"Bearer {access}"})
    assert [client.get(DEVICES).status_code for _ in range(3)] == [200, 200, 429]

    case.happen(redis)

    assert client.get(DEVICES).status_code == case.too_many


def test_sessions(case: Case, redis: RedisServer, user: User, settings: Any) -> None:
    """Django's own: who is not known is signed out, and nobody's token is."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    site = Site(make_application("opaque"), user)
    access = site.token().access
    browser = Client()
    browser.force_login(user)
    assert browser.get(PAGE).status_code == 200

    case.happen(redis)

    is_known = case.asked[0] == 0
    assert browser.get(PAGE).status_code == (200 if is_known else 302)
    form = {"username": user.username, "password": PASSWORD}
    answer = Client(raise_request_exception=False).post("/accounts/login/", form)
    assert answer.status_code == (500 if case.new == _UNAVAILABLE else 302)
    assert site.active(access)
    assert site.token().status == 200
