"""An application that has not opted in is answered the same, with a ``DPoP`` header and without.

At every door of the table, whatever it takes, and at those that give nothing for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import jwt
import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from tests.ended.doors import DOORS, GIVES_NOTHING
from tests.ended.held import SCOPE, Applications, Held, hold
from tests.helpers.client import REDIRECT_URI
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider

#: What a request has in the header, by its method and address.
HEADERS: Final[dict[str, Callable[[str, str], str]]] = {
    "a good proof": DeviceKey().proof,
    "another proof's text twice": lambda method, uri: ", ".join([DeviceKey().proof("PUT", uri)] * 2),
    "junk": lambda method, uri: "\x00 {}; é",
}

#: Members that are drawn anew each time.
RANDOM: Final = {
    *("access_token", "refresh_token", "id_token", "device_code", "user_code", "jti", "at_hash"),
    *("client_id", "client_secret", "registration_access_token", "registration_client_uri"),
    "verification_uri_complete",
}


class Recorder(Client):
    """A browser or client that notes what it is answered, and adds a header to what it sends."""

    def __init__(self, answers: list[str], **defaults: Any) -> None:
        super().__init__(**defaults)
        self.make_header: Callable[[str, str], str] | None = None
        self._answers = answers

    def request(self, **environ: Any) -> Any:
        if self.make_header is not None:
            uri = f"http://testserver{environ['PATH_INFO']}"
            environ["HTTP_DPOP"] = self.make_header(environ["REQUEST_METHOD"], uri)
        response = super().request(**environ)
        self._answers.append(_written(response))
        return response


def _written(response: Any) -> str:
    """Return an answer with its headers, but for what is drawn anew each time."""
    lines = [f"{response.status_code}", *(f"{name}: {value}" for name, value in response.headers.items())]
    body = response.content.decode()
    if response.headers.get("Content-Type", "").startswith("application/json"):
        body = json.dumps(_without_random(json.loads(body)))
    text = "\n".join([*lines, "", body])
    return re.sub(r'(code=|Content-Length: |csrfmiddlewaretoken" value=")[\w-]+', r"\1...", text)


def _without_random(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {member: _without_random(inner, member) for member, inner in value.items()}
    if isinstance(value, list):
        return [_without_random(inner) for inner in value]
    if name in RANDOM and isinstance(value, str):
        if value.count(".") == 2:
            claims = jwt.decode(value, options={"verify_signature": False})
            return [jwt.get_unverified_header(value), _without_random(claims)]
        return len(value) > 0
    return value


# The doors that are not in the table.


def revocation(held: Held) -> None:
    held.mobile.revoke(held.login.access)


def logout(held: Held) -> None:
    held.browser.post("/oauth2/logout/", {"id_token_hint": held.login["id_token"], "allow": "true"})


def client_credentials(held: Held) -> None:
    held.applications.other.post("/oauth2/token/", {"grant_type": "client_credentials"})


def device_authorization(held: Held) -> None:
    held.mobile.start_device(SCOPE)


def page_of_consent(held: Held) -> None:
    query = {
        "response_type": "code",
        "client_id": held.mobile.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    assert held.browser.get("/oauth2/authorize/", query).status_code == 200


def registration(held: Held) -> None:
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"]}
    answer = held.browser.post("/oauth2/register/", metadata, content_type="application/json").json()
    held.mobile.http.get(
        f"/oauth2/register/{answer['client_id']}/",
        headers={"Authorization": f"Bearer {answer['registration_access_token']}"},
    )


def documents(held: Held) -> None:
    names = ("oauth-authorization-server", "openid-configuration", "jwks.json", "oauth-protected-resource")
    for name in names:
        held.mobile.http.get(f"/oauth2/.well-known/{name}")


def refusals(held: Held) -> None:
    """Requests that are refused for what they lack."""
    for path in ("/plain/", "/oauth2/userinfo/", "/oauth2/introspect/"):
        held.mobile.http.get(path, headers={"Authorization": "Bearer nonsense"})
        held.mobile.http.get(path)
    held.mobile.post("/oauth2/token/", {"grant_type": "password", "username": "alice", "password": "wrong"})
    held.mobile.refresh("nonsense")
    held.mobile.post("/oauth2/token/", held.code, authenticate=False)


def preflight(held: Held) -> None:
    headers = {"Origin": "https://client.example", "Access-Control-Request-Method": "POST"}
    held.mobile.http.options("/oauth2/token/", headers=headers)


OTHERS: Final[dict[str, Callable[[Held], None]]] = {
    "revocation endpoint": revocation,
    "RP-initiated logout": logout,
    "client credentials grant": client_credentials,
    "device authorization": device_authorization,
    "page of consent": page_of_consent,
    "client registration": registration,
    "metadata": documents,
    "refusals": refusals,
    "preflight": preflight,
}


def _through(door: str) -> Callable[[Held], None]:
    if door in OTHERS:
        return OTHERS[door]

    def go(held: Held) -> None:
        for credential in DOORS[door].takes:
            assert DOORS[door].opens(held, credential), credential

    return go


@dataclass
class Visitor:
    """A user with one of each credential, whose answers are noted."""

    held: Held
    answers: list[str]
    recorders: list[Recorder]

    def visit(self, door: str, make_header: Callable[[str, str], str] | None) -> list[str]:
        """Go through a door, as if nobody had ever done so before, and return the answers."""
        self.answers.clear()
        for recorder in self.recorders:
            recorder.make_header = make_header
        with transaction.atomic():
            _through(door)(self.held)
            transaction.set_rollback(True)
        return [*self.answers]


@pytest.fixture(params=["unbound opaque tokens", "bound JWTs"])
def visitor(
    request: pytest.FixtureRequest,
    make_applications: Callable[[str], Applications],
    user: User,
    settings: Any,
) -> Visitor:
    settings.ROOT_URLCONF = "tests.ended.urls"
    answers: list[str] = []
    client, browser = Recorder(answers, enforce_csrf_checks=True), Recorder(answers)
    applications = make_applications(request.param)
    for site in (applications.mobile, applications.backend, applications.other):
        site.http = client
    applications.other.application.additional_grant_types = "client-credentials"
    applications.other.application.save()
    browser.force_login(user)
    held = replace(hold(applications, user), browser=browser)
    return Visitor(held, answers, [client, browser])


@pytest.mark.parametrize("door", [*DOORS, *OTHERS])
def test_the_header_changes_nothing_for_who_has_not_opted_in(visitor: Visitor, door: str) -> None:
    if door in DOORS and not DOORS[door].is_there:
        pytest.skip("not there in this environment")
    with (
        time_machine.travel(timezone.now(), tick=False),
        provider(DCR_ENABLED=True, OIDC_RP_INITIATED_LOGOUT_ENABLED=True),
    ):
        without = visitor.visit(door, None)
        answered = {name: visitor.visit(door, make_header) for name, make_header in HEADERS.items()}

    assert without
    assert answered == dict.fromkeys(HEADERS, without)


def test_what_gives_nothing_is_looked_at_as_well() -> None:
    assert GIVES_NOTHING.keys() <= OTHERS.keys()
