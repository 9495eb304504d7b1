"""A client registers where it is told of logouts (OpenID Connect Back-Channel Logout 1.0 section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import get_application_model

from oauth_binding.models import LogoutNotification, TokenPolicy
from tests.helpers.client import set_policy
from tests.helpers.logouts import THIS_MACHINE, log_out, relying_party, send_logouts
from tests.helpers.provider import provider
from tests.helpers.registration import OPEN, Registrar, metadata

URI = "https://client.example/logout"

ASKED: dict[str, Any] = {
    "backchannel_logout_uri": URI,
    "backchannel_logout_session_required": True,
}


@pytest.fixture
def registrar(db: None) -> Iterator[Registrar]:
    with provider(**OPEN):
        yield Registrar(Client(enforce_csrf_checks=True))


def code_client(**more: Any) -> dict[str, Any]:
    return metadata("authorization_code", **more)


def held() -> list[tuple[str, bool]]:
    return list(
        TokenPolicy.objects.values_list("backchannel_logout_uri", "backchannel_logout_session_required")
    )


def answered(response: Any) -> dict[str, Any]:
    assert response.status_code in {200, 201}, response.content
    return {name: value for name, value in response.json().items() if name.startswith("backchannel_logout")}


def test_it_is_kept_and_answered(registrar: Registrar) -> None:
    assert answered(registrar.send("POST", code_client(**ASKED))) == ASKED
    assert answered(registrar.send("GET")) == ASKED
    assert held() == [(URI, True)]


def test_a_session_id_need_not_be_asked_for(registrar: Registrar) -> None:
    registered = registrar.send("POST", code_client(backchannel_logout_uri=URI))

    assert answered(registered) == {**ASKED, "backchannel_logout_session_required": False}
    assert held() == [(URI, False)]


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(ASKED), {"backchannel_logout_uri": ""}], ids=str)
def test_without_it_nothing_is_kept(registrar: Registrar, nothing: dict[str, Any]) -> None:
    assert answered(registrar.send("POST", code_client(**nothing))) == {}
    assert held() == []


def test_an_update_changes_it_and_takes_it_away(registrar: Registrar) -> None:
    registrar.send("POST", code_client(**ASKED))

    other = "https://client.example/other"
    updated = registrar.send("PUT", code_client(backchannel_logout_uri=other))
    assert answered(updated)["backchannel_logout_uri"] == other
    assert held() == [(other, False)]
    # What an update leaves out is gone (RFC 7592 section 2.2).
    assert answered(registrar.send("PUT", code_client())) == {}
    assert held() == [("", False)]


def test_an_update_leaves_the_rest_of_the_policy_alone(registrar: Registrar) -> None:
    registrar.send("POST", code_client(**ASKED))
    set_policy(get_application_model().objects.get(), access_token_lifetime=60)

    registrar.send("PUT", code_client())

    assert TokenPolicy.objects.get().access_token_lifetime == 60


REFUSED: dict[str, dict[str, Any]] = {
    "http": {"backchannel_logout_uri": "http://client.example/logout"},
    "another scheme": {"backchannel_logout_uri": "ftp://client.example/logout"},
    "a script": {"backchannel_logout_uri": "javascript:alert(1)"},
    "a file": {"backchannel_logout_uri": "file:///etc/passwd"},
    "a path": {"backchannel_logout_uri": "/logout"},
    "no host": {"backchannel_logout_uri": "https:///logout"},
    "a fragment": {"backchannel_logout_uri": f"{URI}#x"},
    "an empty fragment": {"backchannel_logout_uri": f"{URI}#"},
    "a user": {"backchannel_logout_uri": "https://me@client.example/logout"},
    "a password": {"backchannel_logout_uri": "https://me:secret@client.example/logout"},
    "a space": {"backchannel_logout_uri": f"{URI} x"},
    "a line feed": {"backchannel_logout_uri": f"{URI}\r\nHost: other.example"},
    "NUL": {"backchannel_logout_uri": f"{URI}\x00"},
    "no ASCII": {"backchannel_logout_uri": "https://client.example/läuft"},
    "no such port": {"backchannel_logout_uri": "https://client.example:99999/"},
    "half an address": {"backchannel_logout_uri": "https://[::1/"},
    "too long": {"backchannel_logout_uri": f"https://client.example/{'x' * 500}"},
    "this machine": {"backchannel_logout_uri": "https://127.0.0.1/logout"},
    "this machine by name": {"backchannel_logout_uri": "https://localhost/logout"},
    "the metadata of a cloud": {"backchannel_logout_uri": "https://169.254.169.254/latest/meta-data/"},
    "the network inside": {"backchannel_logout_uri": "https://[::ffff:10.0.0.1]/logout"},
    "a number": {"backchannel_logout_uri": 1},
    "a list": {"backchannel_logout_uri": [URI]},
    "an object": {"backchannel_logout_uri": {}},
    "a text for true": {**ASKED, "backchannel_logout_session_required": "true"},
    "a number for true": {**ASKED, "backchannel_logout_session_required": 1},
    "a session id in no token": {"backchannel_logout_session_required": True},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_named_and_nothing_is_kept(registrar: Registrar, what: str) -> None:
    asked = REFUSED[what]
    (name,) = asked if len(asked) == 1 else ("backchannel_logout_session_required",)

    def assert_refused(response: Any) -> None:
        assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
        assert name in response.json()["error_description"]
        assert "secret" not in response.content.decode()

    assert_refused(registrar.send("POST", code_client(**asked)))
    assert not get_application_model().objects.exists()

    registrar.send("POST", code_client(**ASKED, client_name="Before"))
    assert_refused(registrar.send("PUT", code_client(**asked, client_name="After")))
    assert registrar.send("GET").json()["client_name"] == "Before"
    assert held() == [(URI, True)]


def test_development_on_the_same_machine(registrar: Registrar, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, **THIS_MACHINE}

    assert (
        registrar.send("POST", code_client(backchannel_logout_uri="http://localhost:3000/logout")).status_code
        == 201
    )


def test_without_openid_connect_it_means_nothing(registrar: Registrar) -> None:
    with provider(OIDC_ENABLED=False):
        assert answered(registrar.send("POST", code_client(backchannel_logout_uri=5))) == {}
    assert held() == []


def test_who_has_registered_is_told(registrar: Registrar, user: User, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, **THIS_MACHINE}
    with relying_party() as party:
        registrar.send("POST", code_client(backchannel_logout_uri=party.uri))
        # An operator has it get ID tokens.
        application = get_application_model().objects.get()
        application.algorithm = "RS256"
        application.save()
        log_out(user, [application])
        assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."

    assert len(party.tokens) == 1


def test_a_client_that_unregisters_is_told_nothing_more(registrar: Registrar, user: User) -> None:
    registrar.send("POST", code_client(**ASKED))
    log_out(user, [get_application_model().objects.get()])

    assert registrar.send("DELETE").status_code == 204

    assert not LogoutNotification.objects.exists()
