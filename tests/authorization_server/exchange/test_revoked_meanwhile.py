"""A token exchange (RFC 8693) whose subject token is revoked while the exchange is being answered.

tests/concurrency has the same between processes, and leaves the moment to chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from oauth_binding.authorization_server import revoke_binding, revoke_unbound_tokens
from oauth_binding.authorization_server.issuing import save as issuing
from oauth_binding.authorization_server.revocation import end as ending
from oauth_binding.models import TokenBinding, TokenPolicy
from oauth_binding.storage import attempts
from tests.helpers.client import Answer, Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import allow, exchange

REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"

KINDS = [(token_type, binding) for token_type in ("opaque", "jwt") for binding in ("none", "client-request")]


@pytest.fixture(params=KINDS, ids=" ".join)
def backend(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    """An application that may exchange tokens, of each kind of token."""
    token_type, binding = request.param
    return make_site(
        "client_credentials",
        as_user=None,
        token_type=token_type,
        token_binding_type=binding,
        additional_grant_types="token-exchange",
    )


@pytest.fixture(params=["bound", "unbound"])
def mobile(request: pytest.FixtureRequest, make_site: Callable[..., Site], backend: Site) -> Site:
    """The application whose tokens are exchanged, with and without binding."""
    binding = "client-request" if request.param == "bound" else "none"
    site = make_site(token_binding_type=binding)
    allow(backend, site, refresh_tokens=True)
    return site


def end(site: Site, subject: Answer, how: str) -> None:
    if how == "access token":
        site.revoke(subject.access)
    elif how == "refresh token":
        site.revoke(subject.refresh)
    elif site.application.token_binding_type == "none":
        assert site.user is not None
        revoke_unbound_tokens(site.user, site.application)
    else:
        revoke_binding(TokenBinding.objects.get(application=site.application))


HOW = pytest.mark.parametrize("how", ["access token", "refresh token", "device"])


def once(function: Callable[[], Any]) -> Callable[[], None]:
    """Return a function that calls another when it is called for the first time."""
    calls = [function]
    return lambda: calls.pop()() if calls else None


@HOW
@pytest.mark.parametrize("exchanged", ["access token", "refresh token"])
def test_revoked_after_the_exchange_was_checked(
    backend: Site, mobile: Site, monkeypatch: pytest.MonkeyPatch, exchanged: str, how: str
) -> None:
    subject = mobile.bound("phone")
    save_exchange = issuing.save_exchange
    revoke = once(lambda: end(mobile, subject, how))

    def save_late(plan: Any) -> None:
        revoke()
        save_exchange(plan)

    monkeypatch.setattr(issuing, "save_exchange", save_late)

    if exchanged == "access token":
        answer = exchange(backend, subject.access)
    else:
        answer = exchange(backend, subject.refresh, subject_token_type=REFRESH_TOKEN)

    assert (answer.status, answer.data["error"]) == (400, "invalid_grant")
    assert "subject_token" in answer["error_description"]


def test_revoked_while_what_was_exchanged_is_answered_again(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Also where what was exchanged outlives what it was exchanged from."""
    settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_CASCADE": False}
    mobile = make_site()
    backend = make_site("token-exchange", token_binding_type="client-request")
    allow(backend, mobile)
    subject = mobile.token()
    first = exchange(backend, subject.access, tokenBindingId="device")
    assert exchange(backend, subject.access, tokenBindingId="device").access == first.access
    revoke = once(lambda: mobile.revoke(subject.access))
    monkeypatch.setattr(issuing, "tokens_transaction", _first(revoke, attempts.tokens_transaction))

    answer = exchange(backend, subject.access, tokenBindingId="device")

    assert (answer.status, answer.data["error"]) == (400, "invalid_grant")
    assert backend.active(first.access)


@HOW
def test_the_first_exchange_ever_while_its_subject_token_is_being_revoked(
    backend: Site, mobile: Site, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    subject = mobile.bound("phone")
    answers: list[Answer] = []
    before_revoking(monkeypatch, lambda: answers.append(exchange(backend, subject.access)))

    end(mobile, subject, how)

    (answer,) = answers
    assert answer.status == 200
    assert not mobile.active(subject.access)
    assert not backend.active(answer.access)
    assert backend.refresh(answer.refresh).status == 400


@pytest.mark.parametrize("mobile", ["unbound"], indirect=True)
def test_a_login_while_a_user_is_being_signed_out(
    backend: Site, mobile: Site, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    mobile.token()
    answers: list[Answer] = []
    before_revoking(monkeypatch, lambda: answers.append(exchange(backend, mobile.token().access)))

    revoke_unbound_tokens(user, mobile.application)

    (answer,) = answers
    assert not backend.active(answer.access)


def before_revoking(monkeypatch: pytest.MonkeyPatch, function: Callable[[], Any]) -> None:
    """Call a function when revoking has begun and has not revoked anything yet."""
    call = once(function)
    monkeypatch.setattr(ending, "in_transaction", _first(call, attempts.in_transaction))


def _first(call: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        call()
        return function(*arguments)

    return both


@pytest.mark.parametrize("exchanged", ["access token", "refresh token"])
@pytest.mark.parametrize("rotates", [True, False])
def test_bound_to_a_key_after_the_exchange_was_checked(
    backend: Site, mobile: Site, monkeypatch: pytest.MonkeyPatch, settings: Any, exchanged: str, rotates: bool
) -> None:
    """A bearer token that is refreshed with a proof (RFC 9449 section 5) is not exchanged without the key."""
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": rotates}
    TokenPolicy.objects.create(application=mobile.application, sender_constraint="dpop")
    device = replace(mobile, key=DeviceKey())
    subject = mobile.bound("phone")
    refreshed: list[Answer] = []
    bind = once(lambda: refreshed.append(device.refresh(subject.refresh)))
    monkeypatch.setattr(issuing, "tokens_transaction", _first(bind, attempts.tokens_transaction))

    if exchanged == "access token":
        answer = exchange(backend, subject.access)
    else:
        answer = exchange(backend, subject.refresh, subject_token_type=REFRESH_TOKEN)

    assert (answer.status, answer.data["error"]) == (400, "invalid_grant")
    assert refreshed[0]["token_type"] == "DPoP"
    assert mobile.active(refreshed[0].access)
