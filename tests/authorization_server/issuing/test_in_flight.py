"""Requests that are being answered while something ends what they were validated by.

tests/concurrency has the same between processes, and leaves the moment to chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import get_application_model, get_device_grant_model, get_grant_model

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.authorization_server.endpoints import device_authorization
from oauth_binding.authorization_server.issuing import save as issuing
from oauth_binding.authorization_server.toolkit import validator as toolkit
from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import TokenPolicy
from oauth_binding.storage import attempts
from tests.helpers.client import GRANTS, PASSWORD, REDIRECT_URI, SECRET, Answer, Site
from tests.helpers.dpop import DeviceKey

KINDS = [(token_type, binding) for token_type in ("opaque", "jwt") for binding in ("none", "client-request")]


@pytest.fixture(params=KINDS, ids=" ".join)
def make_kind(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Return a factory of applications of each kind of token."""
    token_type, binding = request.param

    def make(grant_type: str = "password", **fields: Any) -> Site:
        return make_site(grant_type, token_type=token_type, token_binding_type=binding, **fields)

    return make


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Return a function that lets something happen after a request was validated, and before it is saved."""

    def let(happen: Callable[[], Any]) -> None:
        pending = [happen]

        def first(function: Callable[..., Any]) -> Callable[..., Any]:
            def both(*arguments: Any) -> Any:
                if pending:
                    pending.pop()()
                return function(*arguments)

            return both

        monkeypatch.setattr(issuing, "tokens_transaction", first(attempts.tokens_transaction))
        # Where a token is returned again without a transaction.
        monkeypatch.setattr(issuing, "_confirm", first(issuing._confirm))
        for module in (toolkit, device_authorization):
            monkeypatch.setattr(module, "in_transaction", first(attempts.in_transaction))

    return let


def change_password() -> None:
    user = User.objects.get(username="alice")
    user.set_password("another correct horse")
    user.save()


def deactivate() -> None:
    user = User.objects.get(username="alice")
    user.is_active = False
    user.save()


def delete_user() -> None:
    User.objects.get(username="alice").delete()


def sign_out() -> None:
    sign_out_everywhere(User.objects.get(username="alice"))


def hash_again() -> None:
    """Hash the same password anew, as a login does after an upgrade of Django."""
    User.objects.filter(username="alice").update(password=make_password(PASSWORD))


def assert_refused(answer: Answer) -> None:
    assert answer.status in {400, 401}, answer.data
    assert answer["error"] in {"invalid_grant", "invalid_client", "access_denied", "expired_token"}


@pytest.mark.parametrize("event", [change_password, deactivate, delete_user])
def test_a_password_that_was_right(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], event: Callable[[], None]
) -> None:
    site = make_kind()
    site.bound("laptop")
    meanwhile(event)

    assert_refused(site.bound("phone"))


def test_a_password_whose_hash_is_renewed_is_still_right(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None]
) -> None:
    site = make_kind()
    before = site.bound("laptop")
    meanwhile(hash_again)

    answer = site.bound("phone")

    assert answer.status == 200, answer.data
    assert site.active(answer.access)
    assert site.active(before.access)


@pytest.mark.parametrize("event", [sign_out, deactivate, delete_user])
@pytest.mark.parametrize("grant_type", ["authorization_code", [*GRANTS][-1], "refresh_token"])
def test_what_has_a_row(
    make_kind: Callable[..., Site],
    meanwhile: Callable[..., None],
    grant_type: str,
    event: Callable[[], None],
) -> None:
    if grant_type == "refresh_token":
        site = make_kind()
        form: Any = {"grant_type": "refresh_token", "refresh_token": site.bound("phone").refresh}
    else:
        site = make_kind(grant_type)
        form = [*site.grant(), ("tokenBindingId", "phone")]
    meanwhile(event)

    assert_refused(site.post("/oauth2/token/", form))


def test_a_code_that_another_request_redeems(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None]
) -> None:
    """It came twice, and so what it was redeemed for ends (RFC 6749 section 4.1.2)."""
    site = make_kind("authorization_code")
    form = [*site.grant(), ("tokenBindingId", "phone")]
    rivals: list[Answer] = []
    meanwhile(lambda: rivals.append(site.post("/oauth2/token/", form)))

    assert_refused(site.post("/oauth2/token/", form))

    assert rivals[0].status == 200, rivals[0].data
    assert not site.active(rivals[0].access)
    assert site.refresh(rivals[0].refresh).status == 400


def test_a_code_that_another_request_redeems_while_it_is_validated(
    make_kind: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, and no server error: its row is read again for its challenge."""
    site = make_kind("authorization_code")
    form = [*site.grant(), ("tokenBindingId", "phone")]
    rivals: list[Answer] = []
    validate = BindingOAuth2Validator.validate_code

    def validate_and_redeem(*arguments: Any, **named: Any) -> bool:
        valid = validate(*arguments, **named)
        if not rivals:
            rivals.append(Answer(0, {}, {}))
            rivals[0] = site.post("/oauth2/token/", form)
        return valid

    monkeypatch.setattr(BindingOAuth2Validator, "validate_code", validate_and_redeem)

    assert_refused(site.post("/oauth2/token/", form))

    assert rivals[0].status == 200, rivals[0].data
    assert not site.active(rivals[0].access)


@pytest.mark.parametrize("grant_type", ["authorization_code", [*GRANTS][-1]])
def test_a_code_for_a_token_that_is_answered_again(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], grant_type: str
) -> None:
    """A user who was deactivated by SQL alone has ended nothing, and gets nothing either."""
    site = make_kind(grant_type)
    site.bound("phone")
    form = [*site.grant(), ("tokenBindingId", "phone")]
    alice = User.objects.filter(username="alice")
    meanwhile(lambda: alice.update(is_active=False))

    assert_refused(site.post("/oauth2/token/", form))

    alice.update(is_active=True)
    assert site.post("/oauth2/token/", form).status == 200, "nothing was redeemed"


@pytest.mark.django_db(transaction=True)  # a foreign key is looked at when the transaction is committed
def test_an_application_that_is_deleted(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None]
) -> None:
    site = make_kind()
    meanwhile(lambda: get_application_model().objects.filter(pk=site.application.pk).delete())

    assert_refused(site.bound("phone"))


@pytest.mark.parametrize("event", [change_password, deactivate, delete_user])
def test_a_user_who_authorizes(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], user: User, event: Callable[[], None]
) -> None:
    site = make_kind("authorization_code")
    browser = Client()
    browser.force_login(user)
    query = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "allow": "Authorize",
    }
    meanwhile(event)

    answer = browser.post("/oauth2/authorize/", query)

    assert "error=access_denied" in answer["Location"]
    assert not get_grant_model().objects.exists()


@pytest.mark.parametrize("event", [change_password, deactivate])
def test_a_user_who_approves_a_device(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], user: User, event: Callable[[], None]
) -> None:
    site = make_kind([*GRANTS][-1])
    started = site.start_device()
    browser = Client()
    browser.force_login(user)
    page = browser.post("/oauth2/device/", {"user_code": started["user_code"]})
    meanwhile(event)

    answer = browser.post(page["Location"], {"action": "accept"})

    assert answer.status_code == 403
    assert get_device_grant_model().objects.get().status == "authorization-pending"


@pytest.fixture(params=[True, False], ids=["rotation", "no rotation"])
def rotates(request: pytest.FixtureRequest, settings: Any) -> bool:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": request.param}
    return bool(request.param)


@pytest.mark.parametrize("is_replay", [False, True])
def test_a_refresh_token_that_gets_a_key(
    make_kind: Callable[..., Site],
    meanwhile: Callable[..., None],
    rotates: bool,
    is_replay: bool,
    settings: Any,
) -> None:
    """Who refreshes it without the key gets nothing (RFC 9449 section 5), nor takes anything away."""
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}
    site = make_kind()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    device = replace(site, key=DeviceKey())
    login = site.bound("phone")
    bearers = [login, site.refresh(login.refresh)] if is_replay else [login]
    with_key: list[Answer] = []
    meanwhile(lambda: with_key.append(device.refresh(bearers[-1].refresh)))

    answer = site.refresh(login.refresh)

    assert answer.status == 400, answer.data
    assert answer["error"] in {"invalid_grant", "invalid_dpop_proof"}
    assert (with_key[0].status, with_key[0]["token_type"]) == (200, "DPoP")
    assert site.active(with_key[0].access)
    assert not any(site.active(bearer.access) for bearer in bearers)
    for token in {each.refresh for each in [*bearers, *with_key]}:
        assert site.refresh(token).status == 400
    assert device.refresh(with_key[0].refresh).status == 200


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_refreshed_pair_that_gets_a_key(
    make_bound: Callable[..., Site], meanwhile: Callable[..., None], token_type: str, settings: Any
) -> None:
    """Both requests come again with the refresh token before, of which the pair is the successor."""
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}
    site = make_bound(token_type)
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    device = replace(site, key=DeviceKey())
    login = site.bound("phone")
    bearer = site.refresh(login.refresh)
    with_key: list[Answer] = []
    meanwhile(lambda: with_key.append(device.refresh(login.refresh)))

    answer = site.refresh(login.refresh)

    assert (with_key[0].status, with_key[0]["token_type"]) == (200, "DPoP")
    assert site.active(with_key[0].access)
    if answer.status == 200:
        # It came first, and was answered what there was; that has ended since.
        assert (token_type, answer.access) == ("opaque", bearer.access)
    else:
        assert answer["error"] in {"invalid_grant", "invalid_dpop_proof"}
    assert not site.active(bearer.access)
    for token in (login.refresh, bearer.refresh, with_key[0].refresh):
        assert site.refresh(token).status == 400
    assert device.refresh(with_key[0].refresh).status == 200


def test_a_refresh_token_that_is_refreshed_before_it_gets_a_key(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], rotates: bool
) -> None:
    """Whether the one with the proof is refused or answered, there is no bearer token beside its own."""
    site = make_kind()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    device = replace(site, key=DeviceKey())
    login = site.bound("phone")
    bearers: list[Answer] = []
    meanwhile(lambda: bearers.append(site.refresh(login.refresh)))

    answer = device.refresh(login.refresh)

    assert (bearers[0].status, bearers[0]["token_type"]) == (200, "Bearer")
    assert site.active(bearers[0].access) is (answer.status == 400)
    if answer.status == 200:
        assert answer["token_type"] == "DPoP"
        assert {site.refresh(token).status for token in (bearers[0].refresh, answer.refresh)} == {400}
        assert device.refresh(answer.refresh).status == 200
    else:
        assert answer["error"] == "invalid_grant"
        assert device.refresh(bearers[0].refresh)["token_type"] == "DPoP"


@pytest.mark.parametrize("client_type", ["public", "confidential"])
def test_a_refresh_token_that_gets_another_key(
    make_kind: Callable[..., Site], meanwhile: Callable[..., None], rotates: bool, client_type: str
) -> None:
    """A public client needs the one that was first; one that authenticates itself may bring another."""
    site = make_kind(client_type=client_type, client_secret=SECRET if client_type == "confidential" else "")
    site.secret = site.application.client_secret
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    devices = [replace(site, key=DeviceKey()) for _ in range(2)]
    login = site.bound("phone")
    first: list[Answer] = []
    meanwhile(lambda: first.append(devices[0].refresh(login.refresh)))

    answer = devices[1].refresh(login.refresh)

    assert first[0]["token_type"] == "DPoP"
    if client_type == "public":
        assert (answer.status, answer["error"]) == (400, "invalid_grant")
        assert devices[1].refresh(first[0].refresh)["error"] == "invalid_grant"
    live = [each for each in (*first, answer) if each.status == 200][-1]
    assert devices[0].refresh(live.refresh)["token_type"] == "DPoP"
