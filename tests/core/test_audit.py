"""The audit log: an entry for each event, of one form, and with no secret in any."""

from __future__ import annotations

import ast
import base64
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.dispatch import Signal
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model, get_device_grant_model, get_refresh_token_model

import oauth_binding
from oauth_binding.authorization_server import revoke_binding
from oauth_binding.authorization_server.backchannel.delivery import MAX_ATTEMPTS
from oauth_binding.authorization_server.revocation.end_all import (
    EndingAll,
    Progress,
    all_of_application,
    all_of_bindings,
    all_of_user,
)
from oauth_binding.authorization_server.revocation.revoke import revoke_bindings
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core import signals
from oauth_binding.core.audit import LOGGER, Event
from oauth_binding.core.reasons import BY_ERROR, Reason
from oauth_binding.models import LoginSession, LogoutNotification, TokenBinding
from oauth_binding.signals import audit_event
from tests.helpers.client import PASSWORD, REDIRECT_URI, SECRET, Answer, Site, set_policy
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import signed_in
from tests.helpers.logouts import THIS_MACHINE, log_out, send_logouts
from tests.helpers.provider import provider
from tests.helpers.registration import OPEN, Registrar, metadata
from tests.helpers.rows import access_token_row, expire

DOCS = Path(oauth_binding.__file__).parents[1] / "docs"
SCHEMA = json.loads((DOCS / "audit-entry.schema.json").read_text())

ROOT = Path(oauth_binding.__file__).parent

DEVICE = "canary-binding-id"
WRONG = "canary-wrong-secret"

#: What is secret among the parameters of requests and the members of answers.
SECRETS = {
    *("password", "client_secret", "code", "code_verifier", "refresh_token", "token", "subject_token"),
    *("device_code", "user_code", "tokenBindingId", "access_token", "id_token", "dpop_jkt"),
}

Capture = Callable[..., AbstractContextManager[Any]]


@dataclass
class World:
    """A site with its audit log, and whatever secret has been sent to it or answered by it."""

    make_site: Callable[..., Site]
    user: User
    settings: Any
    capture: Capture
    lines: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=lambda: {PASSWORD, SECRET, DEVICE, WRONG})

    def site(self, grant_type: str = "password", **fields: Any) -> Site:
        return self.make_site(grant_type, **{"token_binding_type": "client-request", **fields})

    def entries(self, event: Event | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines]
        return [entry for entry in found if event in (None, entry["event"])]


@pytest.fixture
def world(
    make_site: Callable[..., Site],
    user: User,
    settings: Any,
    django_capture_on_commit_callbacks: Capture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[World]:
    settings.OAUTH_BINDING = {**getattr(settings, "OAUTH_BINDING", {}), "AUDIT_LOG": True}
    world = World(make_site, user, settings, django_capture_on_commit_callbacks)
    post = Site.post

    def noted(site: Site, path: str, form: Any, **named: Any) -> Answer:
        sent = dict(form)
        with django_capture_on_commit_callbacks(execute=True):
            answer = post(site, path, form, **named)
        for name in SECRETS:
            world.secrets |= {str(each[name]) for each in (sent, answer.data) if each.get(name)}
        return answer

    monkeypatch.setattr(Site, "post", noted)

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            world.lines.append(record.getMessage())

    handler, logger = Keep(), logging.getLogger(LOGGER)
    logger.addHandler(handler)
    with caplog.at_level(logging.INFO, LOGGER):
        yield world
    logger.removeHandler(handler)


# What leads to each event


def token_issued(world: World) -> None:
    assert world.site().bound(DEVICE).status == 200


def token_reused(world: World) -> None:
    site = world.site()
    assert site.bound(DEVICE).access == site.bound(DEVICE).access


def token_refreshed(world: World) -> None:
    site = world.site(token_type="jwt")
    assert site.refresh(site.bound(DEVICE).refresh).status == 200


def token_exchanged(world: World) -> None:
    app, backend = world.site(), world.site("client_credentials", additional_grant_types="token-exchange")
    allow(backend, app)
    assert exchange(backend, app.bound(DEVICE).access, tokenBindingId=DEVICE).status == 200


def token_refused(world: World) -> None:
    assert world.site().bound(DEVICE, password=WRONG).status == 400


def token_revoked(world: World) -> None:
    site = world.site()
    assert site.revoke(site.bound(DEVICE).access).status == 200


def revocation_refused(world: World) -> None:
    site = world.site()
    token = site.bound(DEVICE).access
    site.secret = WRONG
    assert site.revoke(token).status == 401


def introspection_refused(world: World) -> None:
    site = world.site()
    token = site.bound(DEVICE).access
    site.secret = WRONG
    assert site.introspect(token).status == 401


def api_request_refused(world: World) -> None:
    site = world.site(require_presented_binding="yes")
    assert site.api(site.bound(DEVICE).access) == 401


def authorization_granted(world: World) -> None:
    with world.capture(execute=True):
        world.secrets |= {*world.site("authorization_code").authorization_code().values()} - {
            "authorization_code",
            REDIRECT_URI,
        }


def authorization_refused(world: World) -> None:
    site, browser = world.site("authorization_code"), signed_in(world.user)
    query = {"response_type": "code", "client_id": site.application.client_id, "redirect_uri": REDIRECT_URI}
    asked = {**query, "scope": "read", "code_challenge": "c" * 43, "code_challenge_method": "S256"}
    assert browser.post("/oauth2/authorize/", asked).status_code == 302


DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def device_code_issued(world: World) -> None:
    world.site(DEVICE_GRANT).start_device()


def device_code_refused(world: World) -> None:
    site = world.site(DEVICE_GRANT)
    site.secret = WRONG
    form = {"client_id": site.application.client_id, "scope": "read"}
    assert site.post("/oauth2/device-authorization/", form).status == 401


def device_approved(world: World) -> None:
    site = world.site(DEVICE_GRANT)
    with world.capture(execute=True):
        site.accept_device(site.start_device()["user_code"])


def device_denied(world: World) -> None:
    site = world.site(DEVICE_GRANT)
    started = site.start_device()
    browser = signed_in(world.user)
    page = browser.post("/oauth2/device/", {"user_code": started["user_code"]})
    with world.capture(execute=True):
        browser.post(page["Location"], {"action": "deny"})
    assert get_device_grant_model().objects.get().status == "denied"


def binding_revoked(world: World) -> None:
    assert world.site().bound(DEVICE).status == 200
    with world.capture(execute=True):
        assert revoke_binding(TokenBinding.objects.get())


def user_signed_out(world: World) -> None:
    assert world.site().bound(DEVICE).status == 200
    world.user.is_active = False
    with world.capture(execute=True):
        world.user.save()


def login_session_ended(world: World) -> None:
    with world.capture(execute=True):
        log_out(world.user, [])


def logout_given_up(world: World) -> None:
    world.settings.OAUTH_BINDING = {**world.settings.OAUTH_BINDING, **THIS_MACHINE}
    site = world.site("authorization_code", backchannel_logout_uri="http://127.0.0.1:9/logout")
    with world.capture(execute=True):
        log_out(world.user, [site.application])
    LogoutNotification.objects.update(attempts=MAX_ATTEMPTS - 1)
    send_logouts()


def demand_reported(world: World) -> None:
    assert world.site(require_binding="report").bound(None).status == 200


def registrar(world: World) -> Registrar:
    registrar = Registrar(Client())
    with world.capture(execute=True):
        answer = registrar.send("POST", metadata("authorization_code"))
    assert answer.status_code == 201, answer.content
    world.secrets |= {registrar.token, answer.json()["client_secret"]}
    return registrar


def client_registered(world: World) -> None:
    with provider(**OPEN):
        registrar(world)


def client_changed(world: World) -> None:
    with provider(**OPEN):
        client = registrar(world)
        with world.capture(execute=True):
            assert client.send("PUT", metadata("authorization_code")).status_code == 200
        world.secrets.add(client.token)


def client_deleted(world: World) -> None:
    with provider(**OPEN):
        client = registrar(world)
        with world.capture(execute=True):
            assert client.send("DELETE").status_code == 204


def registration_refused(world: World) -> None:
    with provider(**OPEN):
        client = registrar(world)
        client.token = WRONG
        assert client.send("PUT", metadata("authorization_code")).status_code == 401


#: All of them; what is not here has no test.
SCENARIOS: dict[Event, Callable[[World], None]] = {
    Event.TOKEN_ISSUED: token_issued,
    Event.TOKEN_REUSED: token_reused,
    Event.TOKEN_REFRESHED: token_refreshed,
    Event.TOKEN_EXCHANGED: token_exchanged,
    Event.TOKEN_REFUSED: token_refused,
    Event.TOKEN_REVOKED: token_revoked,
    Event.REVOCATION_REFUSED: revocation_refused,
    Event.INTROSPECTION_REFUSED: introspection_refused,
    Event.API_REQUEST_REFUSED: api_request_refused,
    Event.AUTHORIZATION_GRANTED: authorization_granted,
    Event.AUTHORIZATION_REFUSED: authorization_refused,
    Event.DEVICE_CODE_ISSUED: device_code_issued,
    Event.DEVICE_CODE_REFUSED: device_code_refused,
    Event.DEVICE_APPROVED: device_approved,
    Event.DEVICE_DENIED: device_denied,
    Event.BINDING_CREATED: token_issued,
    Event.BINDING_REVOKED: binding_revoked,
    Event.USER_SIGNED_OUT: user_signed_out,
    Event.LOGIN_SESSION_ENDED: login_session_ended,
    Event.LOGOUT_GIVEN_UP: logout_given_up,
    Event.DEMAND_REPORTED: demand_reported,
    Event.CLIENT_REGISTERED: client_registered,
    Event.CLIENT_CHANGED: client_changed,
    Event.CLIENT_DELETED: client_deleted,
    Event.REGISTRATION_REFUSED: registration_refused,
}


def test_each_event_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(Event)


@pytest.mark.parametrize("event", Event)
def test_an_event_has_one_entry_of_the_documented_form_without_secrets(world: World, event: Event) -> None:
    SCENARIOS[event](world)

    (entry,) = world.entries(event)
    for line in world.lines:
        jsonschema.validate(json.loads(line), SCHEMA, format_checker=jsonschema.FormatChecker())
        assert line.isprintable()
        assert not [secret for secret in world.secrets if secret in line]
    is_refusal = event.endswith("_refused") or event == Event.LOGOUT_GIVEN_UP
    assert (entry["outcome"] != "success") is is_refusal
    assert entry["reason"] is not None or not is_refusal
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entry["time"])) < timedelta(minutes=1)


def test_an_entry_says_who_and_what_it_is_about(world: World) -> None:
    site = world.site(token_type="jwt")

    claims = site.bound(DEVICE).claims

    (entry,) = world.entries(Event.TOKEN_ISSUED)
    del entry["time"]
    assert entry == {
        "version": 1,
        "event": "token_issued",
        "outcome": "success",
        "reason": None,
        "client_id": site.application.client_id,
        "user": str(world.user.pk),
        "binding_ref": binding_reference(DEVICE),
        "session": None,
        "grant_type": "password",
        "token": claims["jti"],
        "address": None,
    }


def test_an_opaque_token_is_said_by_what_its_row_is_found_by(world: World) -> None:
    row = access_token_row(world.site().bound(None).access)

    (entry,) = world.entries(Event.TOKEN_ISSUED)
    assert (entry["token"], entry["binding_ref"]) == (row.token_checksum, None)


def test_a_login_is_followed_through_its_entries(world: World) -> None:
    site = world.site("authorization_code", token_binding_type="sso-session", revoke_on_logout="session")
    browser = signed_in(world.user)
    with world.capture(execute=True):
        form = site.authorization_code("openid read", browser)
    answer = site.post("/oauth2/token/", form)
    site.refresh(answer.refresh)
    with world.capture(execute=True):
        browser.post("/accounts/logout/")
    session = LoginSession.objects.get()

    entries = world.entries()
    assert {entry["session"] for entry in entries if entry["event"] != "binding_created"} == {
        binding_reference(str(session.sid))
    }
    assert [entry["event"] for entry in entries] == [
        *("authorization_granted", "binding_created", "token_issued", "token_refreshed"),
        "login_session_ended",
    ]
    assert entries[-1]["reason"] == "logout"
    assert str(session.sid) not in "".join(world.lines)


@pytest.mark.parametrize(
    ("kept", "address", "said"),
    [
        ("off", "203.0.113.77", None),
        ("shortened", "203.0.113.77", "203.0.113.0"),
        ("shortened", "2001:db8:1:2::3", "2001:db8:1::"),
        ("whole", "::ffff:203.0.113.77", "203.0.113.77"),
        ("whole", "", None),
    ],
)
def test_an_address_is_said_as_the_site_keeps_addresses(
    world: World, kept: str, address: str, said: str | None
) -> None:
    world.settings.OAUTH_BINDING = {**world.settings.OAUTH_BINDING, "DEVICE_ADDRESSES": kept}
    site = world.site()
    site.http = Client(REMOTE_ADDR=address)

    site.bound(DEVICE)
    site.bound(DEVICE, password=WRONG)

    assert [entry["address"] for entry in world.entries() if entry["event"] != "binding_created"] == [
        said
    ] * 2


# Why something is refused


def bad_credentials(world: World) -> Answer:
    return world.site().bound(DEVICE, password=WRONG)


def client_unknown(world: World) -> Answer:
    site = world.site()
    site.application.client_id = "nobody"
    return site.bound(DEVICE)


def client_authentication_failed(world: World) -> Answer:
    site = world.site()
    site.secret = WRONG
    return site.bound(DEVICE)


def binding_value_invalid(world: World) -> Answer:
    return world.site().bound("x" * 256)


def device_name_invalid(world: World) -> Answer:
    site = world.site()
    form = [*site.grant(), ("tokenBindingId", DEVICE)]
    return site.post("/oauth2/token/", form, headers={"Token-Binding-Name": "n" * 101})


def binding_required(world: World) -> Answer:
    return world.site(require_binding="yes").bound(None)


def binding_mismatch(world: World) -> Answer:
    site = world.site()
    return site.refresh(site.bound(DEVICE).refresh, tokenBindingId="other")


def grant_type_unknown(world: World) -> Answer:
    return world.site().token(grant_type="nonsense")


def grant_type_not_allowed(world: World) -> Answer:
    return world.site("client_credentials").post(
        "/oauth2/token/", {"grant_type": "password", "username": "alice", "password": PASSWORD}
    )


def scope_not_allowed(world: World) -> Answer:
    return world.site().bound(DEVICE, scope="no-such-scope")


def parameter_repeated(world: World) -> Answer:
    return world.site().bound(DEVICE, scope=["read", "write"])


def parameter_misplaced(world: World) -> Answer:
    return world.site().token(path="/oauth2/token/?tokenBindingId=x")


def audience_not_allowed(world: World) -> Answer:
    site = world.site(allowed_audiences="https://a.example/", default_audiences="https://a.example/")
    return site.bound(DEVICE, resource="https://b.example/")


def proof_missing(world: World) -> Answer:
    return world.site(sender_constraint="dpop", require_sender_constraint="yes").bound(DEVICE)


def proof_replayed(world: World) -> Answer:
    site = world.site(sender_constraint="dpop", require_sender_constraint="yes")
    proof = {"DPoP": DeviceKey().proof("POST", "/oauth2/token/")}
    assert site.post("/oauth2/token/", site.grant(), headers=proof).status == 200
    return site.post("/oauth2/token/", site.grant(), headers=proof)


def proof_invalid(world: World) -> Answer:
    site = world.site(sender_constraint="dpop", require_sender_constraint="yes")
    proof = DeviceKey().proof("GET", "/oauth2/token/")
    return site.post("/oauth2/token/", site.grant(), headers={"DPoP": proof})


def key_mismatch(world: World) -> Answer:
    site = world.site(sender_constraint="dpop", client_type="public")
    site.key = DeviceKey()
    form = [*site.grant(), ("client_id", site.application.client_id)]
    refresh = site.post("/oauth2/token/", form, authenticate=False).refresh
    site.key = DeviceKey()
    client_id = site.application.client_id
    refreshing = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": client_id}
    return site.post("/oauth2/token/", refreshing, authenticate=False)


def device_limit(world: World) -> Answer:
    site = world.site(max_devices=1, device_limit_action="refuse")
    assert site.bound(DEVICE).status == 200
    return site.bound("another")


def login_too_old(world: World) -> Answer:
    site = world.site()
    refresh = site.bound(DEVICE).refresh
    set_policy(site.application, login_lifetime=60)
    get_refresh_token_model().objects.update(
        binding_login_started=datetime.now(UTC).replace(tzinfo=None if not world.settings.USE_TZ else UTC)
        - timedelta(days=2)
    )
    return site.refresh(refresh)


def refresh_token_unknown(world: World) -> Answer:
    return world.site().refresh("no-such-token")


def refresh_token_of_other_client(world: World) -> Answer:
    return world.site().refresh(world.site().bound(DEVICE).refresh)


def refresh_token_revoked(world: World) -> Answer:
    site = world.site()
    answer = site.bound(DEVICE)
    site.revoke(answer.refresh)
    return site.refresh(answer.refresh)


def refresh_token_reuse(world: World) -> Answer:
    site = world.site(token_type="jwt")
    refresh = site.bound(DEVICE).refresh
    assert site.refresh(refresh).status == 200
    return site.refresh(refresh)


def user_inactive(world: World) -> Answer:
    site = world.site()
    refresh = site.bound(DEVICE).refresh
    User.objects.update(is_active=False)
    return site.refresh(refresh)


def code_unknown(world: World) -> Answer:
    site = world.site("authorization_code")
    return site.post("/oauth2/token/", {**site.authorization_code(), "code": "no-such-code"})


def code_replayed(world: World) -> Answer:
    site = world.site("authorization_code")
    form = site.authorization_code()
    assert site.post("/oauth2/token/", form).status == 200
    return site.post("/oauth2/token/", form)


def code_verifier_wrong(world: World) -> Answer:
    site = world.site("authorization_code")
    return site.post("/oauth2/token/", {**site.authorization_code(), "code_verifier": "x" * 50})


def redirect_uri_mismatch(world: World) -> Answer:
    site = world.site("authorization_code")
    form = {**site.authorization_code(), "redirect_uri": "https://evil.example/"}
    return site.post("/oauth2/token/", form)


def device_code_unknown(world: World) -> Answer:
    site = world.site(DEVICE_GRANT)
    return site.post("/oauth2/token/", {"grant_type": DEVICE_GRANT, "device_code": "no-such-code"})


def device_code_denied(world: World) -> Answer:
    site = world.site(DEVICE_GRANT)
    code = site.start_device()["device_code"]
    get_device_grant_model().objects.update(status="denied", user=world.user)
    return site.post("/oauth2/token/", {"grant_type": DEVICE_GRANT, "device_code": code})


def exchange_not_allowed(world: World) -> Answer:
    app, backend = world.site(), world.site("client_credentials", additional_grant_types="token-exchange")
    return exchange(backend, app.bound(DEVICE).access)


def subject_token_invalid(world: World) -> Answer:
    return exchange(world.site("client_credentials", additional_grant_types="token-exchange"), "no-token")


def misconfigured(world: World) -> Answer:
    with provider(OIDC_RSA_PRIVATE_KEY=""):
        return world.site(token_type="jwt").bound(DEVICE)


REFUSALS: dict[Reason, Callable[[World], Answer]] = {
    Reason.AUDIENCE_NOT_ALLOWED: audience_not_allowed,
    Reason.BAD_CREDENTIALS: bad_credentials,
    Reason.BINDING_MISMATCH: binding_mismatch,
    Reason.BINDING_REQUIRED: binding_required,
    Reason.BINDING_VALUE_INVALID: binding_value_invalid,
    Reason.DEVICE_NAME_INVALID: device_name_invalid,
    Reason.CLIENT_AUTHENTICATION_FAILED: client_authentication_failed,
    Reason.CLIENT_UNKNOWN: client_unknown,
    Reason.CODE_REPLAYED: code_replayed,
    Reason.CODE_UNKNOWN: code_unknown,
    Reason.CODE_VERIFIER_WRONG: code_verifier_wrong,
    Reason.DEVICE_CODE_UNKNOWN: device_code_unknown,
    Reason.DEVICE_DENIED: device_code_denied,
    Reason.DEVICE_LIMIT: device_limit,
    Reason.EXCHANGE_NOT_ALLOWED: exchange_not_allowed,
    Reason.GRANT_TYPE_NOT_ALLOWED: grant_type_not_allowed,
    Reason.GRANT_TYPE_UNKNOWN: grant_type_unknown,
    Reason.KEY_MISMATCH: key_mismatch,
    Reason.LOGIN_TOO_OLD: login_too_old,
    Reason.MISCONFIGURED: misconfigured,
    Reason.PARAMETER_MISPLACED: parameter_misplaced,
    Reason.PARAMETER_REPEATED: parameter_repeated,
    Reason.PROOF_INVALID: proof_invalid,
    Reason.PROOF_MISSING: proof_missing,
    Reason.PROOF_REPLAYED: proof_replayed,
    Reason.REDIRECT_URI_MISMATCH: redirect_uri_mismatch,
    Reason.REFRESH_TOKEN_OF_OTHER_CLIENT: refresh_token_of_other_client,
    Reason.REFRESH_TOKEN_REUSE: refresh_token_reuse,
    Reason.REFRESH_TOKEN_REVOKED: refresh_token_revoked,
    Reason.REFRESH_TOKEN_UNKNOWN: refresh_token_unknown,
    Reason.SCOPE_NOT_ALLOWED: scope_not_allowed,
    Reason.SUBJECT_TOKEN_INVALID: subject_token_invalid,
    Reason.USER_INACTIVE: user_inactive,
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_the_log_says_why_a_token_request_is_refused_and_the_answer_does_not(
    world: World, reason: Reason
) -> None:
    answer = REFUSALS[reason](world)

    (entry,) = world.entries(Event.TOKEN_REFUSED)
    assert (entry["reason"], entry["outcome"]) == (reason, "error" if answer.status == 503 else "refused")
    assert answer.status >= 400
    assert answer.data.keys() <= {"error", "error_description"}
    assert reason not in answer.data.values() or reason in BY_ERROR
    assert not [secret for secret in world.secrets if secret in "".join(world.lines)]


def test_a_reused_refresh_token_is_said_to_have_ended_its_family(world: World) -> None:
    site = world.site(token_type="jwt", refresh_token_reuse_protection=True)
    refresh = site.bound(DEVICE).refresh
    site.refresh(refresh)
    site.refresh(refresh)

    assert [(entry["event"], entry["reason"]) for entry in world.entries()][-2:] in (
        [("token_revoked", "refresh_token_reuse"), ("token_refused", "refresh_token_reuse")],
        [("token_refused", "refresh_token_reuse"), ("token_revoked", "refresh_token_reuse")],
    )


def test_a_device_that_has_to_wait_is_not_refused(world: World) -> None:
    site = world.site(DEVICE_GRANT)
    code = site.start_device()["device_code"]
    form = {"grant_type": DEVICE_GRANT, "device_code": code}

    assert site.post("/oauth2/token/", form)["error"] == "authorization_pending"
    assert not world.entries(Event.TOKEN_REFUSED)


def test_a_proof_without_its_token_is_told_once(world: World) -> None:
    site = world.site(sender_constraint="dpop", require_sender_constraint="yes")
    site.key = DeviceKey()
    token = site.bound(DEVICE).access
    site.key = None

    assert site.api(token) == 401

    (entry,) = world.entries(Event.API_REQUEST_REFUSED)
    assert (entry["reason"], entry["user"]) == ("proof_missing", str(world.user.pk))
    assert entry["client_id"] == site.application.client_id


def test_an_expired_token_at_an_api_is_not_told(world: World) -> None:
    site = world.site()
    token = site.bound(DEVICE).access
    expire(token)

    assert site.api(token) == 401
    assert not world.entries(Event.API_REQUEST_REFUSED)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", "a=" + "x" * 3_000_000),
        ("application/x-www-form-urlencoded", "&".join(f"a{number}=1" for number in range(1100))),
        ("application/x-www-form-urlencoded; charset=latin-1", "grant_type=password"),
        ("multipart/form-data; boundary=", "nonsense"),
    ],
    ids=["too large", "too many fields", "another charset", "no boundary"],
)
@pytest.mark.parametrize(
    ("path", "event"),
    [
        ("token/", Event.TOKEN_REFUSED),
        ("revoke_token/", Event.REVOCATION_REFUSED),
        ("introspect/", Event.INTROSPECTION_REFUSED),
        ("device-authorization/", Event.DEVICE_CODE_REFUSED),
    ],
)
def test_a_body_that_cannot_be_read_is_answered_in_json_and_told(
    world: World, path: str, event: Event, content_type: str, body: str
) -> None:
    http = Client(raise_request_exception=False)

    answer = http.generic("POST", f"/oauth2/{path}", body, content_type=content_type)

    assert answer.status_code in (400, 401, 403)
    assert answer["Content-Type"] == "application/json"
    (entry,) = world.entries()
    assert (entry["event"], entry["outcome"], entry["client_id"]) == (event, "refused", None)


def test_a_device_that_is_not_decided_on_is_not_told(world: World) -> None:
    site = world.site(DEVICE_GRANT)
    started = site.start_device()
    browser = signed_in(world.user)
    page = browser.post("/oauth2/device/", {"user_code": started["user_code"]})
    world.lines.clear()

    with world.capture(execute=True):
        assert browser.post(page["Location"], {"action": "maybe"}).status_code == 400

    assert not world.entries()


def test_an_unknown_client_is_told_by_the_name_that_http_basic_has(world: World) -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(b"nobody:" + WRONG.encode()).decode()}

    answer = world.site().post(
        "/oauth2/token/", {"grant_type": "client_credentials"}, authenticate=False, headers=basic
    )

    (entry,) = world.entries()
    assert (answer.status, entry["reason"], entry["client_id"]) == (401, "client_unknown", "nobody")
    assert WRONG not in world.lines[0]


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
def test_what_ends_with_all_of_an_application_is_told(world: World, binding_type: str) -> None:
    site = world.site(token_binding_type=binding_type)
    site.bound(DEVICE)
    world.lines.clear()

    end_all_of(world, all_of_application(site.application))

    (entry,) = world.entries()
    assert entry["event"] == ("token_revoked" if binding_type == "none" else "binding_revoked")
    assert (entry["client_id"], entry["user"]) == (site.application.client_id, str(world.user.pk))
    world.lines.clear()
    end_all_of(world, all_of_application(site.application))
    assert not world.entries()


def test_what_ends_with_all_of_a_user_is_told_once(world: World) -> None:
    world.site(token_binding_type="none").bound(DEVICE)
    world.lines.clear()

    end_all_of(world, all_of_user(world.user))

    assert [entry["event"] for entry in world.entries()] == ["user_signed_out"]


def test_telling_of_each_binding_costs_no_query(world: World) -> None:
    site, queries = world.site(), []
    for is_on in (True, False):
        for device in ("one", "two", "three"):
            site.bound(device)
        world.settings.OAUTH_BINDING = {**world.settings.OAUTH_BINDING, "AUDIT_LOG": is_on}
        with CaptureQueriesContext(connection) as ended:
            end_all_of(world, all_of_bindings(TokenBinding.objects.all()))
        for device in ("one", "two", "three"):
            site.bound(device)
        with CaptureQueriesContext(connection) as revoked, world.capture(execute=True):
            revoke_bindings(TokenBinding.objects.values_list("pk", flat=True))
        queries.append((len(ended), len(revoked)))

    assert len(world.entries(Event.BINDING_REVOKED)) == 6
    assert queries[0] == queries[1]


def end_all_of(world: World, ending: EndingAll) -> None:
    progress = Progress()
    with world.capture(execute=True):
        while not ending.is_done(progress):
            progress = ending.go_on(progress, 10)


# Who is told, and when


def test_the_signal_has_the_same_entry_and_needs_no_setting(world: World) -> None:
    heard = []

    def hear(entry: dict[str, Any], **named: Any) -> None:
        heard.append(entry)

    audit_event.connect(hear)
    try:
        world.site().bound(DEVICE)
        assert heard == world.entries()
        world.settings.OAUTH_BINDING = {}
        world.lines.clear()
        world.site().bound(DEVICE)
    finally:
        audit_event.disconnect(hear)
    assert len(heard) == 4
    assert not world.lines


def test_without_the_setting_and_a_receiver_nothing_is_said(world: World) -> None:
    world.settings.OAUTH_BINDING = {}
    for scenario in (token_issued, token_refused, api_request_refused):
        scenario(world)
    assert not world.lines


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told_and_what_is_refused_in_it_is(
    make_site: Callable[..., Site], user: User, settings: Any
) -> None:
    settings.OAUTH_BINDING = {"AUDIT_LOG": False}
    heard = []

    def hear(entry: dict[str, Any], **named: Any) -> None:
        heard.append(entry["event"])

    site = make_site(token_binding_type="client-request")
    audit_event.connect(hear)
    try:
        with transaction.atomic():
            assert site.bound(DEVICE).status == 200
            assert site.bound(DEVICE, password=WRONG).status == 400
            assert heard == ["token_refused"]
            transaction.set_rollback(True)
        assert heard == ["token_refused"]
        assert site.bound(DEVICE).status == 200
    finally:
        audit_event.disconnect(hear)
    assert heard == ["token_refused", "binding_created", "token_issued"]
    assert get_access_token_model().objects.count() == 1


# Totals


def test_each_signal_is_in_the_log_or_told_where_requests_are_answered() -> None:
    known = {signals.token_reused, signals.token_superseded, signals.token_exchanged, *signals.AUDITED}
    assert known == {each for each in vars(signals).values() if isinstance(each, Signal)}


def test_the_page_and_the_schema_have_all_events_and_reasons() -> None:
    page = (DOCS / "audit-log.md").read_text()
    events, reasons = (
        set(re.findall(r"^\| `([a-z_]+)` \|", page.partition(heading)[2].partition("\n## ")[0], re.MULTILINE))
        for heading in ("\n## Events\n", "\n## Reasons\n")
    )

    assert events == set(Event) == set(SCHEMA["properties"]["event"]["enum"])
    assert reasons == set(Reason)
    members = set(re.findall(r"^\| `([a-z_]+)` \|", page.partition("\n## Events\n")[0], re.MULTILINE))
    assert members == set(SCHEMA["properties"]) == set(SCHEMA["required"])


def test_no_error_of_oauthlib_is_made_without_a_reason() -> None:
    for path in ROOT.rglob("*.py"):
        if path == ROOT / "core/errors.py":
            continue
        tree = ast.parse(path.read_text())
        of_oauthlib = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("oauthlib.")
            and (node.module or "").endswith((".errors", ".exceptions"))
            for alias in node.names
        }
        made = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert made & of_oauthlib <= KNOWN_BY_CLASS, path


#: The authorization endpoint knows why by their class.
KNOWN_BY_CLASS = {"ConsentRequired", "InvalidClientIdError", "MismatchingRedirectURIError"}
