"""The signals that a site's audit log or mail can listen to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import transaction
from django.dispatch import Signal
from oauth2_provider.models import get_access_token_model

from oauth_binding.authorization_server import revoke_binding
from oauth_binding.core import signals
from oauth_binding.core.toolkit_paths import app_authorized
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.rows import access_token_row, expire

#: Those with one argument; of the others, tests/authorization_server/ has what they say.
NAMES = ["binding_created", "binding_revoked", "token_reused", "token_superseded"]

Capture = Callable[..., AbstractContextManager[Any]]


class Log:
    """What the signals have said, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []
        self.senders: set[tuple[str, Any]] = set()
        # Signals keep weak references to their receivers.
        self.receivers = {name: self._receiver(name) for name in NAMES}

    def _receiver(self, name: str) -> Callable[..., None]:
        def receive(sender: Any, signal: Signal, **arguments: Any) -> None:
            self.senders.add((name, sender))
            arguments.pop("facts", None)
            (subject,) = arguments.values()
            self.entries.append((name, subject))

        return receive

    def take(self) -> list[str]:
        """Return the names of the signals since the last time."""
        names = [name for name, _subject in self.entries]
        self.entries.clear()
        return names

    def last(self, name: str) -> Any:
        return [subject for entry, subject in self.entries if entry == name][-1]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    for name, receiver in log.receivers.items():
        getattr(signals, name).connect(receiver)
    yield log
    for name, receiver in log.receivers.items():
        getattr(signals, name).disconnect(receiver)


@pytest.fixture(autouse=True)
def _committed(django_capture_on_commit_callbacks: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request of a site commit, as it does outside of tests."""
    post = Site.post

    def committed(*arguments: Any, **named: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return post(*arguments, **named)

    monkeypatch.setattr(Site, "post", committed)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_new_device_is_told_once(make_bound: Callable[..., Site], log: Log, token_type: str) -> None:
    site = make_bound(token_type)

    site.bound("phone")
    binding = log.last("binding_created")
    assert (binding.binding_value, binding.user, binding.application) == (
        "phone",
        site.user,
        site.application,
    )
    assert binding.pk == TokenBinding.objects.get().pk

    answer = site.bound("phone", scope="read")
    site.bound("phone")
    site.refresh(answer.refresh)
    site.revoke(site.bound("phone").access)
    site.bound("phone")
    assert log.take().count("binding_created") == 1

    site.bound("tablet")
    site.bound(None)
    assert log.take() == ["binding_created", "binding_created"]


def test_bad_credentials_make_no_device(make_bound: Callable[..., Site], log: Log) -> None:
    site = make_bound()
    assert site.bound("phone", password="wrong").status == 400
    site.secret = "wrong"
    assert site.bound("phone").status == 401
    assert log.take() == []


def test_an_application_without_binding_tells_nothing(make_site: Callable[..., Site], log: Log) -> None:
    site = make_site()
    site.refresh(site.token().refresh)
    assert log.take() == []


def test_a_reused_token(make_bound: Callable[..., Site], log: Log) -> None:
    site = make_bound()
    answer = site.bound("phone")
    log.take()

    site.bound("phone")

    assert log.last("token_reused") == access_token_row(answer.access)
    assert log.take() == ["token_reused"]


def test_a_superseded_token(make_bound: Callable[..., Site], log: Log) -> None:
    site = make_bound("jwt")
    first = site.bound("phone")
    log.take()

    second = site.bound("phone")
    assert log.last("token_superseded") == access_token_row(first.access)
    assert log.take() == ["token_superseded"]

    third = site.refresh(second.refresh)
    assert log.last("token_superseded") == access_token_row(second.access)
    assert log.take() == ["token_superseded"]

    expire(third.access)
    site.bound("phone")
    assert log.take() == []


def test_a_device_that_is_signed_out(
    make_bound: Callable[..., Site], log: Log, django_capture_on_commit_callbacks: Capture
) -> None:
    site = make_bound()
    site.bound("phone")
    site.bound("phone", scope="read")
    log.take()
    binding = TokenBinding.objects.get()

    with django_capture_on_commit_callbacks(execute=True):
        revoke_binding(binding)
    assert log.last("binding_revoked") == binding
    assert log.take() == ["binding_revoked"]

    with django_capture_on_commit_callbacks(execute=True):
        revoke_binding(binding)
    assert log.take() == []


def test_the_senders_are_the_models(
    make_bound: Callable[..., Site], log: Log, django_capture_on_commit_callbacks: Capture
) -> None:
    opaque, jwt = make_bound("opaque"), make_bound("jwt")
    for site in (opaque, jwt):
        site.bound("phone")
        site.bound("phone")
    with django_capture_on_commit_callbacks(execute=True):
        revoke_binding(TokenBinding.objects.all()[0])

    assert log.senders == {
        ("binding_created", TokenBinding),
        ("binding_revoked", TokenBinding),
        ("token_reused", get_access_token_model()),
        ("token_superseded", get_access_token_model()),
    }


@pytest.fixture
def authorized() -> Iterator[list[Any]]:
    """Return the tokens that the signal of django-oauth-toolkit has told of."""
    tokens: list[Any] = []

    def receive(sender: Any, token: Any, **arguments: Any) -> None:
        tokens.append(token)

    app_authorized.connect(receive)
    yield tokens
    app_authorized.disconnect(receive)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_the_toolkits_own_signal_has_the_token(
    make_bound: Callable[..., Site], authorized: list[Any], token_type: str
) -> None:
    phone = make_bound(token_type).bound("phone")

    assert authorized == [access_token_row(phone.access)]


@pytest.mark.django_db(transaction=True)
def test_it_does_not_tell_of_a_token_that_is_gone_again(
    make_bound: Callable[..., Site], authorized: list[Any]
) -> None:
    def forget(sender: Any, **arguments: Any) -> None:
        get_access_token_model().objects.all().delete()

    signals.binding_created.connect(forget)
    try:
        answer = make_bound().bound("phone")
    finally:
        signals.binding_created.disconnect(forget)

    assert (answer.status, authorized) == (200, [])


class RolledBackError(Exception):
    pass


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(make_bound: Callable[..., Site], log: Log) -> None:
    site = make_bound()
    site.bound("phone")
    log.take()

    def sign_out_and_fail() -> None:
        with transaction.atomic():
            revoke_binding(TokenBinding.objects.get())
            raise RolledBackError

    with pytest.raises(RolledBackError):
        sign_out_and_fail()
    assert log.take() == []


def test_a_receiver_that_raises_harms_nobody(
    make_bound: Callable[..., Site],
    log: Log,
    django_capture_on_commit_callbacks: Capture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(**arguments: Any) -> None:
        raise RuntimeError("the mail server is down")

    for name in NAMES:
        getattr(signals, name).connect(fail)
    try:
        opaque, jwt = make_bound("opaque"), make_bound("jwt")
        for site in (opaque, jwt):
            answers = [site.bound("phone"), site.bound("phone")]
            assert [answer.status for answer in answers] == [200, 200]
            assert site.active(answers[1].access)
            with django_capture_on_commit_callbacks(execute=True):
                revoke_binding(access_token_row(answers[1].access).binding)
            assert not site.active(answers[1].access)
    finally:
        for name in NAMES:
            getattr(signals, name).disconnect(fail)

    assert set(log.take()) == set(NAMES)
    assert "the mail server is down" in caplog.text
    for answer in answers:
        assert answer.access not in caplog.text
        assert answer.refresh not in caplog.text
