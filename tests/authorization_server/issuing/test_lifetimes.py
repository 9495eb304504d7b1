"""How long tokens and logins of an application last, by its token policy and all else that has a say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.toolkit.validator import BindingOAuth2Validator
from oauth_binding.devices import devices_of
from tests.helpers.client import GRANTS, Answer, Site, is_jwt, set_policy, verify_jwt
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import REFRESH_TOKEN, allow, exchange

pytestmark = pytest.mark.django_db

DAY = 86_400
SITE_LIFETIME = 3_600

KINDS = list(itertools.product(["opaque", "jwt"], ["client-request", "none"]))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, traveller: Any) -> None:
        self._traveller = traveller
        self.started = timezone.now()

    def wait(self, seconds: float) -> None:
        self._traveller.shift(timedelta(seconds=seconds))

    @property
    def passed(self) -> float:
        return (timezone.now() - self.started).total_seconds()


@pytest.fixture
def clock() -> Iterator[Clock]:
    with time_machine.travel(int(timezone.now().timestamp()), tick=False) as traveller:
        yield Clock(traveller)


@pytest.fixture(params=KINDS, ids=" ".join)
def make(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Return a factory of applications of one kind."""
    token_type, binding_type = request.param

    def make_one(grant_type: str = "password", **policy: Any) -> Site:
        site = make_site(grant_type, token_type=token_type, token_binding_type=binding_type)
        return with_policy(site, **policy)

    return make_one


def with_policy(site: Site, **policy: Any) -> Site:
    set_policy(site.application, **policy)
    return site


def devices(site: Site) -> int:
    """Return on how many devices the user is signed in."""
    assert site.user is not None
    return len(devices_of(site.user))


def lifetime(site: Site, answer: Answer) -> int:
    """Return how long a new access token is valid, on which all who say it agree."""
    assert answer.status == 200, answer.data
    row = get_access_token_model().objects.get(token_checksum=sha256(answer.access.encode()).hexdigest())
    seconds = int(answer["expires_in"])
    said = site.introspect(answer.access)
    assert said["exp"] == int(row.expires.timestamp())
    assert said["exp"] - int(timezone.now().timestamp()) == seconds
    if is_jwt(answer.access):
        assert verify_jwt(answer.access)["exp"] == said["exp"]
    return seconds


# Access tokens


@pytest.mark.parametrize("grant", GRANTS)
def test_each_grant_has_the_lifetime_of_its_kind(grant: str, make: Callable[..., Site], clock: Clock) -> None:
    site = make(grant, access_token_lifetime=600, client_token_lifetime=60_000)
    expected = 60_000 if grant == "client_credentials" else 600
    assert lifetime(site, site.token()) == expected


@pytest.mark.parametrize("grant", GRANTS)
def test_what_is_not_set_is_as_the_site_has_it(grant: str, make: Callable[..., Site], clock: Clock) -> None:
    site = make(grant, constrained_token_lifetime=60, refresh_token_lifetime=60)
    assert lifetime(site, site.token()) == SITE_LIFETIME


def test_a_refresh_has_it_too(make: Callable[..., Site], clock: Clock) -> None:
    site = make()
    login = site.token()
    with_policy(site, access_token_lifetime=600)
    assert lifetime(site, site.refresh(login.refresh)) == 600


@pytest.mark.parametrize("grant", GRANTS)
def test_a_sender_constrained_token_has_its_own(grant: str, make: Callable[..., Site], clock: Clock) -> None:
    policy = {"access_token_lifetime": 600, "client_token_lifetime": 600}
    site = make(grant, sender_constraint="dpop", constrained_token_lifetime=7_200, **policy)
    site.key = DeviceKey()
    assert lifetime(site, site.token()) == 7_200


def test_a_shorter_lifetime_counts_from_the_next_request_on(make: Callable[..., Site], clock: Clock) -> None:
    site = make(access_token_lifetime=7_200)
    login = site.token()
    with_policy(site, access_token_lifetime=600)
    assert site.active(login.access)
    assert lifetime(site, site.token()) == 600


# Narrowing


LIMITS = (300, 400, 500, 600)


def _site_lifetime(request: Any) -> int:
    return Layers.site


class Layers:
    """What the site's own code allows, in seconds."""

    site = validator = 0


class NarrowingValidator(BindingOAuth2Validator):
    """A site's validator that lets tokens live for a shorter time."""

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        token["expires_in"] = min(token["expires_in"], Layers.validator)
        super().save_bearer_token(token, request, *args, **kwargs)


@pytest.fixture
def layers(settings: Any, monkeypatch: Any) -> Callable[[int, int], None]:
    """Return a function that says what the site's own code allows."""
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.NarrowingValidator",
        "EXTRA_SERVER_KWARGS": {"token_expires_in": _site_lifetime},
    }

    def allow_seconds(site: int, validator: int) -> None:
        monkeypatch.setattr(Layers, "site", site)
        monkeypatch.setattr(Layers, "validator", validator)

    return allow_seconds


def test_the_least_of_all_that_narrows_wins(
    make: Callable[..., Site], layers: Callable[[int, int], None], clock: Clock
) -> None:
    subject, client = make(), make("token-exchange")
    allow(client, subject)
    for by_site, by_validator, by_policy, by_subject in itertools.permutations(LIMITS):
        layers(10_000, 10_000)
        with_policy(subject, access_token_lifetime=by_subject)
        held = subject.token(tokenBindingId=f"{by_site} {by_validator} {by_policy}")
        layers(by_site, by_validator)
        with_policy(client, access_token_lifetime=by_policy)
        assert lifetime(client, exchange(client, held.access)) == min(LIMITS)


def test_and_also_of_what_a_login_has_left(
    make: Callable[..., Site], layers: Callable[[int, int], None], clock: Clock
) -> None:
    site = make()
    for by_site, by_validator, by_policy, left in itertools.permutations(LIMITS):
        layers(by_site, by_validator)
        with_policy(site, access_token_lifetime=by_policy, login_lifetime=DAY)
        login = site.token(tokenBindingId=f"{by_site} {by_validator} {by_policy}")
        clock.wait(DAY - left)
        assert lifetime(site, site.refresh(login.refresh)) == min(LIMITS)


# Logins


class Step(NamedTuple):
    """A way for a client to go on: returns what it goes on with, and who holds it."""

    name: str
    policy: dict[str, Any]
    take: Callable[[Site, Answer], Answer]


def _refresh(site: Site, login: Answer) -> Answer:
    return site.refresh(login.refresh)


def _replay(site: Site, login: Answer) -> Answer:
    first = site.refresh(login.refresh)
    again = site.refresh(login.refresh)
    if first.status == 200:
        assert again.status == 200
    return again


def _exchange(site: Site, login: Answer) -> Answer:
    return exchange(site, login.refresh, subject_token_type=REFRESH_TOKEN)


WAYS = [
    Step("rotation", {}, _refresh),
    Step("no rotation", {"rotate_refresh_tokens": False}, _refresh),
    Step("grace period", {}, _replay),
    Step("exchange", {}, _exchange),
]

#: Some days apart: more than a year of refreshing, if nothing ended it.
PACE = 19 * DAY + 4_321


@pytest.mark.parametrize("cleans", [False, True], ids=["", "cleartokens"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_login_ends_to_the_second(
    way: Step, cleans: bool, make: Callable[..., Site], clock: Clock, settings: Any
) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * DAY,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 120,
    }
    allowed = 365 * DAY
    site = make(login_lifetime=allowed, access_token_lifetime=DAY, **way.policy)
    site.application.additional_grant_types = "token-exchange"
    site.application.save()
    allow(site, site, refresh_tokens=True)
    login = site.token()
    while clock.passed + PACE < allowed:
        clock.wait(PACE)
        if cleans:
            call_command("cleartokens")
        login = way.take(site, login)
        assert login.status == 200, (clock.passed / DAY, login.data)
        left = allowed - clock.passed
        assert lifetime(site, login) == min(DAY, left)
    # At its last second it is refreshed, for that second.
    clock.wait(allowed - clock.passed - 1)
    login = way.take(site, login)
    assert login.status == 200, login.data
    assert login["expires_in"] == 1
    assert site.active(login.access)
    assert site.active(login.refresh)
    assert devices(site) == 1
    clock.wait(1)
    assert not site.active(login.access)
    assert not site.active(login.refresh)
    assert devices(site) == 0
    ended = way.take(site, login)
    assert (ended.status, ended["error"]) == (400, "invalid_grant")


def test_a_token_that_is_answered_again_keeps_its_login(
    make_bound: Callable[..., Site], clock: Clock
) -> None:
    site = with_policy(make_bound("opaque"), login_lifetime=1_000, access_token_lifetime=600)
    first = site.bound("phone")
    clock.wait(500)
    again = site.bound("phone")
    assert again.access == first.access
    clock.wait(200)
    refreshed = site.refresh(again.refresh)
    assert refreshed["expires_in"] == 300
    clock.wait(299)
    assert site.bound("phone").access == refreshed.access
    clock.wait(1)
    # The password begins another login.
    assert site.bound("phone")["expires_in"] == 600
    assert site.refresh(refreshed.refresh).status == 400


def test_a_lost_refresh_token_is_replaced_by_one_of_the_same_login(
    make_bound: Callable[..., Site], clock: Clock
) -> None:
    site = with_policy(make_bound("opaque"), login_lifetime=1_000)
    first = site.bound("phone")
    clock.wait(600)
    get_refresh_token_model().objects.all().delete()
    again = site.bound("phone")
    assert (again.access, again.refresh != first.refresh) == (first.access, True)
    assert site.refresh(again.refresh)["expires_in"] == 400


def test_a_login_that_is_made_shorter_ends_with_the_next_request(
    make: Callable[..., Site], clock: Clock
) -> None:
    site = make()
    login = site.token()
    clock.wait(1_000)
    with_policy(site, login_lifetime=900)
    assert site.active(login.access)
    assert not site.active(login.refresh)
    ended = site.refresh(login.refresh)
    assert (ended.status, ended["error_description"]) == (400, "The login has ended.")
    another = site.token()
    assert another.access != login.access
    assert another["expires_in"] == 900


def test_a_client_has_no_login(make: Callable[..., Site], clock: Clock) -> None:
    site = make("client_credentials", login_lifetime=60)
    assert lifetime(site, site.token()) == SITE_LIFETIME


def test_the_login_of_a_device_begins_when_it_asks_for_its_token(
    make: Callable[..., Site], clock: Clock
) -> None:
    site = make("authorization_code", login_lifetime=1_000)
    form = site.grant()
    clock.wait(50)
    login = site.post("/oauth2/token/", form)
    assert lifetime(site, login) == 1_000


# Exchange


def test_an_exchanged_login_lasts_no_longer_than_any_before_it(
    make: Callable[..., Site], clock: Clock, settings: Any
) -> None:
    """From the first client to a second and a third, of which only the first has a limit."""
    first, second, third = make(login_lifetime=30 * DAY), make("token-exchange"), make("token-exchange")
    allow(second, first, refresh_tokens=True)
    allow(third, second, refresh_tokens=True)
    login = first.token()
    clock.wait(10 * DAY)
    login = first.refresh(login.refresh)
    at_second = exchange(second, login.refresh, subject_token_type=REFRESH_TOKEN)
    at_third = exchange(third, at_second.refresh, subject_token_type=REFRESH_TOKEN)
    clock.wait(20 * DAY - 60)
    for site, answer in ((second, at_second), (third, at_third)):
        assert site.introspect(answer.refresh)["exp"] == int(timezone.now().timestamp()) + 60
        assert lifetime(site, site.refresh(answer.refresh)) == 60
    assert devices(first) == 3
    clock.wait(60)
    assert devices(first) == 0


# Refresh tokens


def test_a_refresh_token_expires_when_nobody_uses_it(make: Callable[..., Site], clock: Clock) -> None:
    site = make(access_token_lifetime=600, refresh_token_lifetime=1_000)
    login = site.token()
    clock.wait(1_599)
    assert site.introspect(login.refresh)["exp"] == int(timezone.now().timestamp()) + 1
    assert devices(site) == 1
    login = site.refresh(login.refresh)
    assert login.status == 200
    clock.wait(1_600)
    assert not site.active(login.refresh)
    assert site.refresh(login.refresh)["error"] == "invalid_grant"
    assert devices(site) == 0


def test_an_application_may_rotate_where_the_site_does_not(make: Callable[..., Site], settings: Any) -> None:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": False}
    site = make(rotate_refresh_tokens=True)
    login = site.token()
    assert site.refresh(login.refresh).refresh != login.refresh
    with_policy(site, rotate_refresh_tokens=None)
    login = site.token()
    assert site.refresh(login.refresh).refresh == login.refresh


def test_and_not_where_the_site_does(make: Callable[..., Site]) -> None:
    site = make(rotate_refresh_tokens=False)
    login = site.token()
    refreshed = site.refresh(login.refresh)
    assert refreshed.refresh == login.refresh
    assert site.active(refreshed.access)
    assert not site.active(login.access)


@pytest.mark.parametrize("by_site", [False, True])
@pytest.mark.parametrize("by_policy", [None, False, True])
def test_reuse_ends_a_login_where_the_application_has_it_so(
    by_site: bool, by_policy: bool | None, make: Callable[..., Site], settings: Any
) -> None:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "REFRESH_TOKEN_REUSE_PROTECTION": by_site}
    site = make(refresh_token_reuse_protection=by_policy)
    login = site.token()
    refreshed = site.refresh(login.refresh)
    assert site.refresh(login.refresh).status == 400
    ends = by_site if by_policy is None else by_policy
    assert site.active(refreshed.access) is not ends
    assert site.active(refreshed.refresh) is not ends


# What is returned again


def test_a_token_with_little_left_is_replaced(make_bound: Callable[..., Site], clock: Clock) -> None:
    site = with_policy(make_bound("opaque"), access_token_lifetime=600, reuse_min_lifetime=120)
    first = site.bound("phone")
    other = site.bound("laptop")
    clock.wait(480)
    assert site.bound("phone").access == first.access
    clock.wait(1)
    second = site.bound("phone")
    assert (second.access != first.access, second["expires_in"]) == (True, 600)
    assert not site.active(first.access)
    assert not site.active(first.refresh)
    assert site.active(other.access)


def test_and_so_is_one_whose_login_has_little_left(make_bound: Callable[..., Site], clock: Clock) -> None:
    site = with_policy(
        make_bound("opaque"), access_token_lifetime=600, reuse_min_lifetime=120, login_lifetime=1_000
    )
    first = site.bound("phone")
    clock.wait(590)
    refreshed = site.refresh(first.refresh)
    assert refreshed["expires_in"] == 410
    clock.wait(290)
    assert site.bound("phone").access == refreshed.access
    clock.wait(1)
    assert site.bound("phone")["expires_in"] == 600
    assert not site.active(refreshed.access)


# Forgetting


@pytest.mark.parametrize("ends", [{"login_lifetime": DAY}, {"refresh_token_lifetime": DAY}], ids=str)
def test_what_has_outlived_its_policy_is_forgotten(
    ends: dict[str, int], make: Callable[..., Site], clock: Clock, settings: Any
) -> None:
    """Also on a site whose refresh tokens never expire by themselves, and where used ones are kept."""
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "REFRESH_TOKEN_EXPIRE_SECONDS": None,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    }
    ending, staying = make(**ends), make()
    ending.refresh(ending.token(tokenBindingId="phone").refresh)
    stays = staying.token(tokenBindingId="phone")
    clock.wait(100 * DAY)
    call_command("clearbindings")
    unrevoked = get_refresh_token_model().objects.filter(application=ending.application, revoked=None)
    assert unrevoked.count() == 0
    clock.wait(100 * DAY)
    call_command("cleartokens")
    call_command("clearbindings")
    assert get_access_token_model().objects.filter(application=ending.application).count() == 0
    assert not ending.application.token_bindings.exists()
    assert staying.refresh(stays.refresh).status == 200
