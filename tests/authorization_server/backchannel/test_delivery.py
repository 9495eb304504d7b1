"""Telling applications that a login session has ended (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from joserfc.jws import extract_compact
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.backchannel import delivery, post
from oauth_binding.authorization_server.revocation.logout_queue import enqueue
from oauth_binding.core.jose import timed_http
from oauth_binding.models import LoginSession, LogoutNotification
from tests.helpers.client import Site, set_policy
from tests.helpers.logouts import (
    RelyingParty,
    log_out,
    relying_party_with_tls,
    send_logouts,
    wait_for_next_attempt,
)
from tests.helpers.provider import provider
from tests.helpers.servers import FAILURES, certificate_for, send, serve

DAY = timedelta(days=1)


def only() -> LogoutNotification:
    return LogoutNotification.objects.get()


def assert_waiting(row: LogoutNotification, failure: str) -> None:
    assert row.next_attempt is not None
    assert row.next_attempt > timezone.now()
    assert row.delivered_at is None
    assert row.failure == failure


# Queuing


def test_each_application_of_a_session_that_has_an_address_is_told(
    make_site: Callable[..., Site], told: Any, party: RelyingParty, user: User
) -> None:
    other = make_site("authorization_code", backchannel_logout_uri=party.uri).application
    unconcerned = make_site("authorization_code", backchannel_logout_uri=party.uri).application
    without = make_site("authorization_code").application
    with_policy = make_site("authorization_code", max_devices=3).application

    sessions = log_out(user, [told, other, without, with_policy], sessions=2)

    queued = {(row.application, row.sid) for row in LogoutNotification.objects.all()}
    assert queued == {(each, session.sid) for each in (told, other) for session in sessions}
    assert send_logouts() == "4 logout tokens delivered, 0 failed, 0 left."
    assert len({extract_compact(token.encode()).payload for token in party.tokens}) == 4
    assert unconcerned not in {row.application for row in LogoutNotification.objects.all()}


def test_nothing_is_queued_where_the_end_of_the_session_is_rolled_back(
    told: Any, user: User, party: RelyingParty
) -> None:
    with transaction.atomic():
        log_out(user, [told])
        transaction.set_rollback(True)

    assert send_logouts() == "0 logout tokens delivered, 0 failed, 0 left."
    assert party.tokens == []


def test_one_alone_is_sent_and_the_next_attempt_is_told(told: Any, user: User, party: RelyingParty) -> None:
    """As workers do it (Django's tasks)."""
    log_out(user, [told])
    party.statuses = [503, 200]

    following = delivery.deliver(only().jti)
    assert following == only().next_attempt
    assert delivery.deliver(only().jti) == following
    assert len(party.tokens) == 1  # it is not due again yet

    wait_for_next_attempt()
    assert delivery.deliver(only().jti) is None
    assert len(party.tokens) == 2
    assert only().delivered_at is not None


def test_one_that_is_gone_a_moment_later_is_not_sent(
    told: Any, user: User, party: RelyingParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_out(user, [told])

    def claim_and_delete(claim: Callable[[], int]) -> int:
        claimed = claim()
        LogoutNotification.objects.all().delete()
        return claimed

    monkeypatch.setattr(delivery, "repeat", claim_and_delete)

    assert delivery.deliver(only().jti) is None
    assert party.tokens == []


def test_it_is_sent_although_user_and_session_are_gone(told: Any, user: User, party: RelyingParty) -> None:
    (session,) = log_out(user, [told])
    pk = user.pk
    user.delete()
    assert not LoginSession.objects.exists()

    send_logouts()

    claims = extract_compact(party.tokens[0].encode()).payload
    assert str(session.sid).encode() in claims
    assert f'"sub":"{pk}"'.encode() in claims.replace(b" ", b"")


def test_it_goes_with_its_application(told: Any, user: User) -> None:
    log_out(user, [told])
    told.delete()

    assert not LogoutNotification.objects.exists()


def test_queuing_takes_as_many_queries_for_300_sessions_as_chunks_need(told: Any, user: User) -> None:
    sessions = [session.pk for session in log_out(user, [told], sessions=300)]
    LogoutNotification.objects.all().delete()

    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        enqueue(sessions)

    assert LogoutNotification.objects.count() == 300
    asked = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    assert len(asked) == 2


# Answers


@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_that_says_that_it_is_done(told: Any, user: User, party: RelyingParty, status: int) -> None:
    party.statuses = [status]
    log_out(user, [told])

    assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."

    assert party.content_types == ["application/x-www-form-urlencoded"]
    row = only()
    assert row.delivered_at is not None
    assert (row.next_attempt, row.attempts, row.failure) == (None, 1, "")
    assert send_logouts() == "0 logout tokens delivered, 0 failed, 0 left."
    assert len(party.tokens) == 1


@pytest.mark.parametrize("status", [201, 202, 301, 302, 303, 307, 308, 400, 401, 403, 404, 500, 501, 503])
def test_any_other_answer_is_a_failure_and_is_tried_again(
    told: Any, user: User, party: RelyingParty, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    party.statuses = [status, 200]
    log_out(user, [told])

    assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert_waiting(only(), f"it answered with status {status}")
    assert caplog.messages == [
        f"Logout token not delivered to client {told.client_id} in attempt 1: "
        f"it answered with status {status}"
    ]
    assert send_logouts() == "0 logout tokens delivered, 0 failed, 1 left."  # not due yet
    wait_for_next_attempt()
    assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."
    assert only().failure == ""


def test_redirects_are_not_followed(make_site: Callable[..., Site], user: User, party: RelyingParty) -> None:
    with serve(lambda handler: send(handler, b"", 307, Location=party.uri)) as address:
        application = make_site("authorization_code", backchannel_logout_uri=f"{address}/").application
        log_out(user, [application])

        assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert party.tokens == []


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_a_server_in_trouble_holds_nothing_up(
    make_site: Callable[..., Site],
    user: User,
    failure: Callable[[BaseHTTPRequestHandler], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post, "TIMEOUT", 0.3)
    with serve(failure) as address:
        application = make_site("authorization_code", backchannel_logout_uri=f"{address}/").application
        log_out(user, [application])
        started = time.monotonic()
        send_logouts()
        # Of an answer with the right status, the body is nobody's concern.
        assert time.monotonic() - started < 5 * 0.3

    assert only().attempts == 1


def test_an_answer_that_drips_is_over_in_time(
    make_site: Callable[..., Site], user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "TIMEOUT", 0.3)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100):
            handler.wfile.write(b"X: y\r\n")
            time.sleep(0.05)

    with serve(drip) as address:
        application = make_site("authorization_code", backchannel_logout_uri=f"{address}/").application
        log_out(user, [application])
        started = time.monotonic()
        assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."
        assert time.monotonic() - started < 1.5

    assert_waiting(only(), "there was no answer within 0.3 seconds")


def test_nobody_is_there(told: Any, user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    set_policy(told, backchannel_logout_uri=f"http://127.0.0.1:{port}/logout")
    log_out(user, [told])

    send_logouts()

    assert_waiting(only(), "the connection failed: Connection refused")


@pytest.mark.parametrize(
    "host", ["does-not-exist.invalid", f"{'x' * 64}.example", "xn--.example", "a..example"]
)
def test_a_name_that_is_nobodys(told: Any, user: User, host: str) -> None:
    set_policy(told, backchannel_logout_uri=f"https://{host}/logout")
    log_out(user, [told])

    assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."


def test_an_application_that_does_not_answer_holds_up_no_other(
    make_site: Callable[..., Site],
    told: Any,
    user: User,
    party: RelyingParty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post, "TIMEOUT", 0.3)
    asked = []

    def stall(handler: BaseHTTPRequestHandler) -> None:
        asked.append(1)
        time.sleep(1)

    with serve(stall) as address:
        silent = make_site("authorization_code", backchannel_logout_uri=f"{address}/").application
        log_out(user, [silent], sessions=30)
        log_out(user, [told], sessions=5)
        started = time.monotonic()
        printed = send_logouts()

    assert time.monotonic() - started < 4
    assert printed == f"5 logout tokens delivered, {len(asked)} failed, 30 left."
    assert len(asked) <= 2 * delivery.SENDERS
    assert len(party.tokens) == 5
    # Those that it was not asked for are due as before.
    assert LogoutNotification.objects.filter(
        attempts=0, next_attempt__lte=timezone.now()
    ).count() == 30 - len(asked)


def test_a_run_is_over_before_the_next_begins(
    told: Any, user: User, party: RelyingParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RUN_TIME", 0.3)

    def take_time(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        party.answer(handler)

    with serve(take_time) as address:
        set_policy(told, backchannel_logout_uri=f"{address}/logout")
        log_out(user, [told], sessions=5 * delivery.SENDERS)
        started = time.monotonic()
        first = send_logouts()
        assert time.monotonic() - started < 3
        left = LogoutNotification.objects.filter(attempts=0).count()
        assert 0 < left < 5 * delivery.SENDERS
        assert first.endswith(f" 0 failed, {left} left.")

        monkeypatch.setattr(delivery, "RUN_TIME", 40)
        assert send_logouts() == f"{left} logout tokens delivered, 0 failed, 0 left."


# TLS


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has a certificate trusted."""

    def have_trusted(certificate: bytes) -> None:
        path = tmp_path / "trusted.pem"
        path.write_bytes(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        timed_http._get_opener.cache_clear()

    yield have_trusted
    timed_http._get_opener.cache_clear()


@pytest.mark.parametrize(
    ("trusted", "host", "failure"),
    [
        pytest.param(True, "localhost", "", id="good"),
        pytest.param(
            False, "localhost", "its certificate is not valid: self-signed certificate", id="unknown"
        ),
        pytest.param(
            True,
            "127.0.0.1",
            "its certificate is not valid: IP address mismatch, certificate is not valid for '127.0.0.1'.",
            id="of another host",
        ),
    ],
)
def test_https(
    told: Any, user: User, trust: Any, trusted: bool, host: str, failure: str, tmp_path: Path
) -> None:
    certificate = certificate_for("localhost")
    trust(certificate if trusted else certificate_for("other.example"))
    path = tmp_path / "served.pem"
    path.write_bytes(certificate)
    with relying_party_with_tls(path) as party:
        set_policy(told, backchannel_logout_uri=party.uri.replace("localhost", host))
        log_out(user, [told])
        send_logouts()

    row = only()
    assert row.failure == failure
    assert (row.delivered_at is not None) == (not failure)
    assert len(party.tokens) == (not failure)


def test_who_speaks_no_tls(told: Any, user: User, party: RelyingParty) -> None:
    set_policy(told, backchannel_logout_uri=party.uri.replace("http:", "https:"))
    log_out(user, [told])

    send_logouts()

    assert only().failure.startswith("TLS failed: ")
    assert party.tokens == []


# Attempts


def test_pauses_grow_up_to_two_hours_and_after_a_day_it_is_given_up(
    told: Any, user: User, party: RelyingParty
) -> None:
    party.statuses = [503]
    log_out(user, [told])
    pauses = []
    while True:
        send_logouts()
        row = only()
        if row.next_attempt is None:
            break
        assert row.last_attempt is not None
        pauses.append((row.next_attempt - row.last_attempt) / timedelta(minutes=1))
        wait_for_next_attempt()

    means = [1, 2, 4, 8, 16, 32, 64, *[120] * 10]
    assert len(pauses) == len(means)
    for pause, mean in zip(pauses, means, strict=True):
        assert 0.9 * mean <= pause <= 1.1 * mean + 0.1
    assert 0.8 * DAY < timedelta(minutes=sum(pauses)) < 1.1 * DAY
    assert (row.attempts, row.delivered_at) == (delivery.MAX_ATTEMPTS, None)
    assert row.failure == "it answered with status 503"
    wait_for_next_attempt()
    assert send_logouts() == "0 logout tokens delivered, 0 failed, 0 left."


def test_two_that_have_failed_at_the_same_moment_do_not_come_again_at_the_same(
    told: Any, user: User, party: RelyingParty
) -> None:
    party.statuses = [503]
    log_out(user, [told], sessions=8)

    send_logouts()

    moments: set[Any] = set(LogoutNotification.objects.values_list("next_attempt", flat=True))
    assert len(moments) == 8
    assert max(moments) - min(moments) < timedelta(seconds=30)


def test_a_row_that_is_being_sent_is_nobody_elses(
    told: Any, user: User, make_site: Callable[..., Site]
) -> None:
    """While it is sent, its next attempt is when the claim is over."""
    claims = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        send(handler, b"")

    with serve(look) as address:
        set_policy(told, backchannel_logout_uri=f"{address}/logout")
        log_out(user, [told])
        jti = only().jti
        claimed = delivery._claim(jti)
        assert claimed is not None
        claims.append(delivery._claim(jti))
        assert send_logouts() == "0 logout tokens delivered, 0 failed, 1 left."
        wait_for_next_attempt()
        second = delivery._claim(jti)

    assert claims == [None]
    assert second is not None
    # The first one comes late: what it says of a failure is not noted over the claim of the other.
    delivery._note(claimed, post.Result("it answered with status 503"))
    row = only()
    assert row.next_attempt == second.until
    assert row.failure == ""
    # But what it has delivered is delivered.
    delivery._note(claimed, post.Result())
    delivery._note(second, post.Result("it answered with status 503"))
    assert only().delivered_at is not None
    assert only().next_attempt is None


def test_no_transaction_is_open_while_it_is_sent(told: Any, user: User) -> None:
    of_sender = connections["default"]
    # That of the test.
    depth, depths = len(of_sender.savepoint_ids), []

    def look(handler: BaseHTTPRequestHandler) -> None:
        depths.append(len(of_sender.savepoint_ids))
        send(handler, b"")

    with serve(look) as address:
        set_policy(told, backchannel_logout_uri=f"{address}/logout")
        log_out(user, [told])
        send_logouts()

    assert depths == [depth]


# What changes meanwhile


def test_an_address_that_was_changed_meanwhile(told: Any, user: User, party: RelyingParty) -> None:
    set_policy(told, backchannel_logout_uri="http://127.0.0.1:9/old")
    log_out(user, [told])
    set_policy(told, backchannel_logout_uri=party.uri)

    assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."


@pytest.mark.parametrize("how", ["its address", "its policy", "its row"])
def test_an_application_without_an_address_any_more(
    told: Any, user: User, party: RelyingParty, how: str
) -> None:
    log_out(user, [told])
    if how == "its address":
        set_policy(told, backchannel_logout_uri="")
    elif how == "its policy":
        told.token_policy.delete()
    else:
        # As by SQL: Django would take the notification with it.
        rows = get_application_model().objects.filter(pk=told.pk)
        rows._raw_delete(rows.db)

    assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert_waiting(only(), "the application has no address for it any more")
    assert party.tokens == []


@pytest.mark.parametrize(
    ("fields", "entries", "failure"),
    [
        pytest.param({"algorithm": ""}, {}, "does not support signed tokens", id="no algorithm"),
        pytest.param({}, {"OIDC_RSA_PRIVATE_KEY": ""}, "must set OIDC_RSA_PRIVATE_KEY", id="no key"),
        pytest.param({}, {"OIDC_RSA_PRIVATE_KEY": "a secret"}, "the key can't be read", id="no such key"),
        pytest.param(
            {"algorithm": "HS256", "client_secret": "too short"},
            {},
            "Expected key of length 256",
            id="short secret",
        ),
        pytest.param(
            {"algorithm": "HS256", "hash_client_secret": True, "client_secret": "x" * 40},
            {},
            "client secret is hashed",
            id="hashed secret",
        ),
    ],
)
def test_what_can_not_be_signed_is_not_sent(
    make_site: Callable[..., Site],
    user: User,
    party: RelyingParty,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any],
    entries: dict[str, Any],
    failure: str,
) -> None:
    application = make_site("authorization_code", backchannel_logout_uri=party.uri, **fields).application
    log_out(user, [application])

    with provider(**entries):
        assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert failure in only().failure
    for secret in (fields.get("client_secret"), entries.get("OIDC_RSA_PRIVATE_KEY")):
        assert not secret or secret not in only().failure + caplog.text
    assert party.tokens == []


def test_no_token_is_in_the_log(
    told: Any, user: User, party: RelyingParty, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    party.statuses = [500, 200]
    log_out(user, [told])
    for _ in range(2):
        send_logouts()
        wait_for_next_attempt()

    assert len(party.tokens) == 2
    for token in party.tokens:
        assert not any(part in caplog.text for part in token.split("."))


# Clearing


@pytest.mark.parametrize(
    ("outcome", "days", "remains"),
    [
        ("delivered", 29, True),
        ("delivered", 31, False),
        ("given up", 29, True),
        ("given up", 31, False),
        ("waiting", 31, True),
        ("new", 31, True),
    ],
)
def test_clearbindings_forgets_what_is_over_for_30_days(
    told: Any, user: User, party: RelyingParty, outcome: str, days: int, remains: bool
) -> None:
    log_out(user, [told])
    if outcome != "new":
        party.statuses = [200 if outcome == "delivered" else 503]
        send_logouts()
    moment = timezone.now() - timedelta(days=days)
    LogoutNotification.objects.update(created=moment)
    if outcome != "new":
        LogoutNotification.objects.update(last_attempt=moment)
    if outcome == "given up":
        LogoutNotification.objects.update(next_attempt=None)

    call_command("clearbindings", dry_run=True, stdout=StringIO())
    assert LogoutNotification.objects.exists()
    call_command("clearbindings", stdout=StringIO())

    assert LogoutNotification.objects.exists() == remains
