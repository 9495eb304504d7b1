"""How many devices a user can be signed in on, and what becomes of one more: evict or refuse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.devices import devices_of
from oauth_binding.models import TokenBinding, UsedProof
from oauth_binding.signals import binding_created, binding_revoked
from oauth_binding.storage.prepared_sql import takes_several_statements
from tests.helpers.client import GRANTS, REDIRECT_URI, Answer, Site, set_policy
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import allow, exchange
from tests.helpers.feed import read_feed
from tests.helpers.provider import provider
from tests.helpers.rows import expire, make_devices

TOKEN = "/oauth2/token/"
ACTIONS = ("evict", "refuse")


def limited(site: Site, max_devices: int | None, action: str = "evict", **fields: Any) -> Site:
    """Let users be signed in to an application on so many devices at most."""
    set_policy(site.application, max_devices=max_devices, device_limit_action=action, **fields)
    return site


@pytest.fixture(params=["opaque", "jwt"])
def token_type(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def site(make_bound: Callable[..., Site], token_type: str) -> Site:
    return make_bound(token_type, name="Mobile app")


def signed_in(site: Site) -> set[str]:
    """Return where the user is signed in to the application; "" stands for the shared slot."""
    assert site.user is not None
    return {
        device.binding.binding_value
        for device in devices_of(site.user)
        if device.binding is not None and device.application == site.application
    }


def assert_refused(answer: Answer, limit: int) -> None:
    assert (answer.status, answer["error"]) == (400, "invalid_grant"), answer.data
    assert answer["error_description"] == (
        f"The user is signed in on {limit} devices, and this client allows no more."
    )


# Evicting


def test_the_least_recently_used_device_gives_way(site: Site) -> None:
    limited(site, 2)
    phone, laptop = site.bound("phone"), site.bound("laptop")

    tablet = site.bound("tablet")

    assert signed_in(site) == {"laptop", "tablet"}
    assert [site.active(answer.access) for answer in (phone, laptop, tablet)] == [False, True, True]
    assert site.refresh(phone.refresh)["error"] == "invalid_grant"
    assert site.refresh(laptop.refresh).status == 200


def test_a_device_that_is_used_again_stays(site: Site) -> None:
    limited(site, 2)
    with time_machine.travel(timezone.now() - timedelta(minutes=30)):
        phone = site.bound("phone")
    with time_machine.travel(timezone.now() - timedelta(minutes=20)):
        site.bound("laptop")
    with time_machine.travel(timezone.now() - timedelta(minutes=10)):
        site.refresh(phone.refresh)

    site.bound("tablet")

    assert signed_in(site) == {"phone", "tablet"}


def test_of_those_used_at_the_same_moment_the_one_seen_first_gives_way(site: Site) -> None:
    limited(site, 3)
    for name in ("phone", "laptop", "tablet"):
        site.bound(name)
    TokenBinding.objects.update(last_used=timezone.now())

    site.bound("watch")

    assert signed_in(site) == {"laptop", "tablet", "watch"}


def test_a_device_that_gave_way_can_come_back(site: Site) -> None:
    limited(site, 1)
    site.bound("phone")
    site.bound("laptop")

    assert site.active(site.bound("phone").access)

    assert signed_in(site) == {"phone"}


def test_all_tokens_of_a_device_end(site: Site) -> None:
    limited(site, 1)
    answers = [site.bound("phone", scope=scope) for scope in ("read", "write", "read write")]
    assert all(site.active(answer.access) for answer in answers)

    site.bound("laptop")

    assert not any(site.active(answer.access) for answer in answers)


def test_what_was_exchanged_from_a_device_ends_with_it(site: Site, make_site: Callable[..., Site]) -> None:
    limited(site, 1)
    backend = make_site("client_credentials", as_user=None, additional_grant_types="token-exchange")
    allow(backend, site)
    exchanged = exchange(backend, site.bound("phone").access)
    assert backend.active(exchanged.access)

    site.bound("laptop")

    assert not backend.active(exchanged.access)


def test_a_lowered_limit_counts_at_the_next_new_device(site: Site) -> None:
    for name in ("phone", "laptop", "tablet", "watch"):
        site.bound(name)
    limited(site, 2)

    site.bound("tablet")
    assert signed_in(site) == {"phone", "laptop", "tablet", "watch"}

    site.bound("television")
    assert len(signed_in(site)) == 2
    assert "television" in signed_in(site)


def test_a_limit_that_is_lowered_by_hundreds(site: Site, user: User) -> None:
    make_devices(user, site.application, 600)
    limited(site, 5)

    site.bound("phone")

    assert len(signed_in(site)) == 5
    assert "phone" in signed_in(site)


def test_it_is_told_as_signing_out_is(
    site: Site, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    caplog.set_level(logging.INFO, logger="oauth_binding")
    limited(site, 1)
    site.bound("phone")
    told: list[Any] = []

    def receive(binding: TokenBinding, **kwargs: Any) -> None:
        told.append(binding.binding_value)

    binding_revoked.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            site.bound("laptop")
    finally:
        binding_revoked.disconnect(receive)

    assert told == ["phone"]
    (message,) = [each.getMessage() for each in caplog.records if "signed out" in each.getMessage()]
    assert site.user is not None
    assert message == (
        f"1 devices of user {site.user.pk} were signed out of client {site.application.client_id}, "
        "which allows 1"
    )


def test_the_revocation_feed_names_what_ended(make_bound: Callable[..., Site], settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": True}
    site = limited(make_bound("jwt"), 1)
    phone = site.bound("phone").claims["jti"]

    laptop = site.bound("laptop").claims["jti"]

    def read(query: str) -> dict[str, Any]:
        answer = site.http.get(f"/oauth2/revoked-tokens/{query}", headers=site.basic())
        claims: dict[str, Any] = jwt.decode(answer.content.decode(), options={"verify_signature": False})
        return claims

    revoked, _suspended = read_feed(read)
    assert phone in revoked
    assert laptop not in revoked


# Refusing


def test_a_new_device_is_refused(site: Site) -> None:
    limited(site, 2, "refuse")
    answers = [site.bound("phone"), site.bound("laptop")]

    assert_refused(site.bound("tablet"), 2)

    assert signed_in(site) == {"phone", "laptop"}
    assert all(site.active(answer.access) for answer in answers)


def test_known_devices_are_not_disturbed(site: Site) -> None:
    limited(site, 1, "refuse")
    phone = site.bound("phone")
    assert_refused(site.bound("laptop"), 1)

    assert site.bound("phone").status == 200
    assert site.bound("phone", scope="read").status == 200, "in another slot"
    refreshed = site.refresh(site.bound("phone").refresh)
    assert refreshed.status == 200
    assert site.refresh(refreshed.refresh, scope="write").status == 200
    assert phone.status == 200


def test_a_device_whose_access_token_has_expired_is_known(site: Site) -> None:
    limited(site, 1, "refuse")
    expire(site.bound("phone").access)

    assert site.bound("phone").status == 200
    assert_refused(site.bound("laptop"), 1)


def test_a_lowered_limit_refuses_new_ones_and_keeps_the_others(site: Site) -> None:
    for name in ("phone", "laptop", "tablet"):
        site.bound(name)
    limited(site, 1, "refuse")

    assert_refused(site.bound("watch"), 1)
    assert site.bound("tablet").status == 200
    assert signed_in(site) == {"phone", "laptop", "tablet"}


def test_there_is_room_once_a_device_is_signed_out(site: Site) -> None:
    limited(site, 1, "refuse")
    phone = site.bound("phone")
    assert_refused(site.bound("laptop"), 1)

    site.revoke(phone.refresh)

    assert site.bound("laptop").status == 200
    assert_refused(site.bound("phone"), 1)


@pytest.mark.parametrize("grant", ["authorization_code", [*GRANTS][-1]])
def test_a_refused_code_can_still_be_redeemed(
    make_bound: Callable[..., Site], token_type: str, grant: str
) -> None:
    site = make_bound(token_type, grant, redirect_uris=REDIRECT_URI)
    limited(site, 1, "refuse")
    phone = site.bound("phone")
    form = [*site.grant(), ("tokenBindingId", "laptop")]
    for _ in range(2):
        assert_refused(site.post(TOKEN, form), 1)

    site.revoke(phone.access)

    assert site.post(TOKEN, form).status == 200
    assert site.post(TOKEN, form).status == 400, "once"


def test_a_refused_request_with_an_id_token_leaves_nothing_behind(
    make_bound: Callable[..., Site], token_type: str
) -> None:
    site = limited(make_bound(token_type, "authorization_code"), 1, "refuse")
    phone = site.bound("phone")
    form = {**site.authorization_code("openid read"), "tokenBindingId": "laptop"}
    bindings = TokenBinding._base_manager.count()

    assert_refused(site.post(TOKEN, form), 1)

    assert not get_id_token_model().objects.exists()
    assert TokenBinding._base_manager.count() == bindings
    site.revoke(phone.access)
    assert "id_token" in site.post(TOKEN, form).data


def test_a_refused_proof_was_not_used(site: Site) -> None:
    limited(site, 1, "refuse", sender_constraint="dpop")
    phone = site.bound("phone")
    headers = {"DPoP": DeviceKey().proof("POST", TOKEN)}
    form = {**dict(site.grant()), "tokenBindingId": "laptop"}
    assert_refused(site.post(TOKEN, form, headers=headers), 1)
    assert not UsedProof.objects.exists()

    site.revoke(phone.access)

    answer = site.post(TOKEN, form, headers=headers)
    assert (answer.status, answer["token_type"]) == (200, "DPoP")


def test_a_refused_exchange_leaves_nothing_behind(
    make_site: Callable[..., Site], make_bound: Callable[..., Site], token_type: str
) -> None:
    mobile = make_site()
    backend = make_bound(token_type, "client_credentials", additional_grant_types="token-exchange")
    limited(backend, 1, "refuse")
    allow(backend, mobile)
    subject = mobile.token().access
    first = exchange(backend, subject, tokenBindingId="one")
    assert first.status == 200

    assert_refused(exchange(backend, subject, tokenBindingId="another"), 1)

    backend.revoke(first.access)
    assert exchange(backend, subject, tokenBindingId="another").status == 200


# What counts


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("grant", [grant for grant in GRANTS if grant != "client_credentials"])
def test_every_grant_with_a_user_counts(
    make_bound: Callable[..., Site], token_type: str, grant: str, action: str
) -> None:
    site = limited(make_bound(token_type, grant), 1, action)
    first = site.bound("phone")

    second = site.bound("laptop")

    assert (second.status, site.active(first.access)) == ((200, False) if action == "evict" else (400, True))


@pytest.mark.parametrize("action", ACTIONS)
def test_clients_that_act_for_themselves_have_no_devices(
    make_bound: Callable[..., Site], token_type: str, action: str
) -> None:
    site = limited(make_bound(token_type, "client_credentials", as_user=None), 1, action)

    answers = [site.bound(name) for name in ("one", "two", None)]

    assert all(site.active(answer.access) for answer in answers)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_shared_slot_is_one_device(site: Site, action: str) -> None:
    limited(site, 2, action)
    site.bound("phone")
    site.bound(None)
    site.bound(None, scope="read")
    assert signed_in(site) == {"phone", ""}

    answer = site.bound("laptop")

    if action == "evict":
        assert signed_in(site) == {"", "laptop"}
    else:
        assert_refused(answer, 2)


def test_the_shared_slot_gives_way_and_comes_back(site: Site) -> None:
    limited(site, 1)
    shared = site.bound(None)
    site.bound("phone")
    assert not site.active(shared.access)
    assert signed_in(site) == {"phone"}

    assert site.active(site.bound(None).access)
    assert signed_in(site) == {""}


@pytest.mark.parametrize("action", ACTIONS)
def test_each_user_application_and_binding_type_is_counted_alone(
    site: Site, make_bound: Callable[..., Site], action: str
) -> None:
    limited(site, 1, action)
    other = limited(make_bound(), 1, action)
    bob = Site(site.application, User.objects.create_user("bob", password="correct horse battery staple"))
    answers = [site.bound("phone"), other.bound("phone")]
    answers.append(bob.post(TOKEN, {**dict(bob.grant()), "username": "bob", "tokenBindingId": "phone"}))
    get_application_model().objects.filter(pk=site.application.pk).update(token_binding_type="dpop-key")
    answers.append(site.token())

    assert [answer.status for answer in answers] == [200] * 4
    assert all(site.active(answer.access) for answer in answers)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_has_expired_counts_no_more(site: Site, action: str) -> None:
    limited(site, 2, action)
    with time_machine.travel(timezone.now() - timedelta(days=3)):
        site.bound("old phone")
    laptop = site.bound("laptop")
    with provider(REFRESH_TOKEN_EXPIRE_SECONDS=86400):
        assert site.bound("phone").status == 200

        assert signed_in(site) == {"laptop", "phone"}
    assert site.active(laptop.access)


def test_what_has_ended_counts_no_more_however_recently_it_was_used(site: Site) -> None:
    limited(site, 3)
    site.bound("phone")
    site.bound("laptop")
    site.revoke(site.bound("tablet").access)

    site.bound("watch")

    assert signed_in(site) == {"phone", "laptop", "watch"}


def test_tokens_that_are_bound_to_nothing_do_not_count(
    make_site: Callable[..., Site], token_type: str
) -> None:
    site = make_site(token_type=token_type)
    before = site.token()
    site.application.token_binding_type = "client-request"
    site.application.save()
    limited(site, 1, "refuse")

    assert site.bound("phone").status == 200
    assert site.active(before.access)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_exchanged_does_not_give_way_to_what_comes_of_it(
    make_bound: Callable[..., Site], token_type: str, action: str
) -> None:
    site = make_bound(token_type, additional_grant_types="token-exchange")
    allow(site, site)
    limited(site, 2, action)
    subject = site.bound("phone").access
    with time_machine.travel(timezone.now() + timedelta(seconds=1), tick=True):
        site.bound("laptop")
        answer = exchange(site, subject, tokenBindingId="tablet")

        if action == "evict":
            assert signed_in(site) == {"phone", "tablet"}
        else:
            assert_refused(answer, 2)
        limited(site, 1, action)
        assert_refused(exchange(site, subject, tokenBindingId="watch"), 1)
        assert site.active(subject)


# The site's limit


@pytest.mark.parametrize("policy", [False, True])
def test_the_site_has_a_limit(site: Site, settings: Any, policy: bool) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "MAX_DEVICES": 2}
    if policy:
        limited(site, None, sender_constraint="dpop")
    for name in ("phone", "laptop", "tablet"):
        site.bound(name)

    assert signed_in(site) == {"laptop", "tablet"}


def test_an_application_may_have_more_than_the_site(site: Site, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "MAX_DEVICES": 1}
    limited(site, 2)
    for name in ("phone", "laptop"):
        site.bound(name)

    assert signed_in(site) == {"phone", "laptop"}


def test_the_sites_limit_can_refuse(site: Site, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "MAX_DEVICES": 1}
    limited(site, None, "refuse")
    site.bound("phone")

    assert_refused(site.bound("laptop"), 1)


def test_without_a_limit_nothing_gives_way(site: Site, settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "MAX_DEVICES": None}
    for number in range(20):
        site.bound(str(number))

    assert len(signed_in(site)) == 20


def test_the_default_is_a_thousand(site: Site, user: User) -> None:
    first, second, *_others = make_devices(user, site.application, 1000)
    site.bound("phone")

    assert len(signed_in(site)) == 1000
    assert first.binding_value not in signed_in(site)
    assert second.binding_value in signed_in(site)


# What it leaves, and what it costs


def test_what_is_locked_alone_is_no_device(site: Site, django_capture_on_commit_callbacks: Any) -> None:
    """The row of the shared slot is there to be locked, before anybody has used it."""
    created: list[str] = []

    def receive(binding: TokenBinding, **kwargs: Any) -> None:
        created.append(binding.binding_value)

    binding_created.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            site.bound("phone")
        assert [binding.binding_value for binding in TokenBinding.objects.all()] == ["phone"]
        before = timezone.now()
        with django_capture_on_commit_callbacks(execute=True):
            site.bound(None)
            site.bound("phone")
    finally:
        binding_created.disconnect(receive)

    assert created == ["phone", ""]
    assert TokenBinding.objects.get(binding_value="").created >= before


def test_another_device_is_no_use_of_the_shared_slot(site: Site) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=1)):
        site.bound(None)
    used = TokenBinding.objects.get().last_used

    site.bound("phone")

    assert TokenBinding.objects.get(binding_value="").last_used == used


def cost(site: Site, binding: str | None) -> int:
    """Return how many queries a login takes; transaction control not counted."""
    with CaptureQueriesContext(connection) as captured:
        assert site.bound(binding).status == 200
    control = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT", "ROLLBACK")
    return sum(not query["sql"].startswith(control) for query in captured.captured_queries)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_seen_device_costs_no_query_more_and_a_new_one_two(site: Site, settings: Any, action: str) -> None:
    site.bound(None)
    site.bound("phone")

    def costs() -> list[int]:
        new = f"device {TokenBinding.objects.count()}"
        return [cost(site, name) for name in ("phone", None, new)]

    with override_settings(OAUTH_BINDING={**settings.OAUTH_BINDING, "MAX_DEVICES": None}):
        unlimited = costs()
    by_default = costs()
    limited(site, 100, action)
    with_a_policy = costs()

    assert by_default == with_a_policy
    seen, without_id, new = (limited - free for limited, free in zip(by_default, unlimited, strict=True))
    # PostgreSQL is sent the two together.
    assert seen <= 0
    assert without_id <= 0
    assert new <= (1 if takes_several_statements(connection) else 2)


def test_a_flood_of_made_up_devices_costs_the_same_each_time(site: Site) -> None:
    """Rows of devices that are gone stay, and are not looked at."""
    limited(site, 3)
    for number in range(10):
        site.bound(f"device {number}")
    costs = [cost(site, f"device {number}") for number in range(10, 20)]

    assert len(set(costs)) == 1
    assert TokenBinding.objects.count() == 20
    assert TokenBinding.objects.filter(may_be_live=True).count() == 3
    assert get_access_token_model().objects.filter(expires__gt=timezone.now()).count() == 3
    assert get_refresh_token_model().objects.filter(revoked__isnull=True).count() == 3
