"""Signing out of many devices: in short transactions where nothing else belongs to it, else in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from oauth2_provider.models import (
    AccessToken,
    DeviceGrant,
    Grant,
    RefreshToken,
    get_application_model,
)

from oauth_binding.authorization_server.revocation import end as ending
from oauth_binding.devices import device_id_of, devices_of, sign_out, sign_out_everywhere
from oauth_binding.signals import user_signed_out
from oauth_binding.storage import chunks
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from tests.helpers.client import PASSWORD, Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.rows import access_token_row, make_devices, make_pairs

pytestmark = pytest.mark.django_db(transaction=True)

#: What SQLite takes in a statement where it was not built otherwise.
MOST_PARAMETERS = 999


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two devices be many."""
    monkeypatch.setattr(chunks, "CHUNK_SIZE", 2)


def live(user: User) -> tuple[int, int]:
    """How many live access and refresh tokens a user has."""
    access = AccessToken.objects.filter(live_access_tokens(), user=user)
    return access.count(), RefreshToken.objects.filter(live_refresh_tokens(), user=user).count()


@contextmanager
def between(number: int, happen: Callable[[], Any]) -> Iterator[None]:
    """Let something happen after so many transactions that end tokens."""
    end = ending.end
    count = 0

    def end_and_count(*arguments: Any, **named: Any) -> int:
        nonlocal count
        ended = end(*arguments, **named)
        count += 1
        if count == number:
            happen()
        return ended

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "end", end_and_count)
        yield
    assert count > number, "it was over before"


@contextmanager
def bounded_statements() -> Iterator[None]:
    most = 0

    def look(execute: Any, sql: str, parameters: Any, *arguments: Any) -> Any:
        nonlocal most
        if not sql.startswith("INSERT"):
            most = max(most, len(parameters or ()))
        return execute(sql, parameters, *arguments)

    with connection.execute_wrapper(look):
        yield
    assert 0 < most <= MOST_PARAMETERS


# What happens between two of the transactions


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_is_refreshed_in_between_ends(make_bound: Callable[..., Site], user: User, after: int) -> None:
    site = make_bound()
    make_devices(user, site.application, 4)
    last = site.bound("phone")
    refreshed: list[Answer] = []

    with between(after, lambda: refreshed.append(site.refresh(last.refresh))):
        assert sign_out_everywhere(user) == 5

    # The phone is the fifth, in the fourth transaction; the first is about codes.
    assert [answer.status for answer in refreshed] == [200]
    assert not site.active(refreshed[0].access)
    assert site.refresh(refreshed[0].refresh).status == 400
    assert live(user) == (0, 0)


@pytest.mark.usefixtures("small")
def test_what_is_refreshed_in_between_ends_also_unbound(make_site: Callable[..., Site], user: User) -> None:
    """Also where its application has opted in meanwhile."""
    site = make_site()
    pairs = [site.token() for _ in range(5)]
    site.application.token_binding_type = "client-request"
    site.application.save()
    (device,) = devices_of(user)
    refreshed: list[Answer] = []

    with between(2, lambda: refreshed.append(site.refresh(pairs[4].refresh))):
        sign_out(user, device)

    assert [answer.status for answer in refreshed] == [200]
    assert live(user) == (0, 0)


@pytest.mark.usefixtures("small")
def test_who_logs_in_between_may_be_signed_out_again_but_is_not_kept_out(
    make_bound: Callable[..., Site], user: User
) -> None:
    site = make_bound()
    make_devices(user, site.application, 4)

    with between(3, lambda: site.bound("phone")):
        sign_out_everywhere(user)

    assert live(user) == (0, 0)
    assert site.active(site.bound("phone").access)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("cascade", [True, False])
def test_what_is_exchanged_in_between_ends(
    make_bound: Callable[..., Site], user: User, cascade: bool, settings: Any
) -> None:
    """Also into a binding that was signed out a moment ago, and where exchanged tokens live on alone."""
    settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_CASCADE": cascade}
    site, backend = make_bound(), make_bound(grant_type="token-exchange")
    allow(backend, site)
    subject = site.bound("laptop")
    first = exchange(backend, subject.access, tokenBindingId="server")
    assert first.status == 200, first.data
    make_devices(user, site.application, 4)
    last = site.bound("phone")
    exchanged: list[Answer] = []

    with between(2, lambda: exchanged.append(exchange(backend, last.access, tokenBindingId="server"))):
        sign_out_everywhere(user)

    assert [answer.status for answer in exchanged] == [200]
    assert not backend.active(exchanged[0].access)
    assert live(user) == (0, 0)


@pytest.mark.usefixtures("small")
def test_what_is_kept_is_never_touched(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound()
    make_devices(user, site.application, 5)
    kept = site.bound("phone")
    states: list[bool] = []
    refreshed: list[Answer] = []

    def use() -> None:
        states.append(site.active(kept.access))
        refreshed.append(site.refresh(kept.refresh))

    with between(3, use):
        assert sign_out_everywhere(user, keep=device_id_of(access_token_row(kept.access))) == 5

    assert states == [True]
    assert site.active(refreshed[0].access)
    assert site.refresh(refreshed[0].refresh).status == 200
    assert len(devices_of(user)) == 1


@pytest.mark.usefixtures("small")
def test_codes_end_first_and_what_has_ended_stays_ended_where_it_is_interrupted(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User
) -> None:
    site = make_bound()
    make_devices(user, site.application, 5)
    make_pairs(user, make_site().application, [None] * 5)
    codes = make_bound(grant_type="authorization_code")
    form = [*codes.grant(), ("tokenBindingId", "phone")]
    told: list[Any] = []

    def receive(**arguments: Any) -> None:
        told.append(arguments["cause"])

    def interrupt() -> None:
        assert live(user) == (8, 8)
        raise KeyboardInterrupt

    user_signed_out.connect(receive)
    try:
        with pytest.raises(KeyboardInterrupt), between(2, interrupt):
            sign_out_everywhere(user)
        assert live(user) == (8, 8), "one transaction for the codes, and one for two devices"
        assert not Grant.objects.exists()
        assert codes.post("/oauth2/token/", form).status == 400
        assert told == []

        assert sign_out_everywhere(user) == 4
        assert live(user) == (0, 0)
        assert told == ["sign_out_everywhere"]
        assert sign_out_everywhere(user) == 0
        assert told == ["sign_out_everywhere"]
    finally:
        user_signed_out.disconnect(receive)


@pytest.mark.usefixtures("small")
def test_in_a_transaction_of_the_callers_it_is_all_one(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound()
    make_devices(user, site.application, 5)
    told: list[Any] = []

    def receive(**arguments: Any) -> None:
        told.append(arguments["cause"])

    user_signed_out.connect(receive)
    try:
        with transaction.atomic():
            assert sign_out_everywhere(user) == 5
            assert live(user) == (0, 0)
            transaction.set_rollback(True)
        assert live(user) == (5, 5)
        assert told == []
    finally:
        user_signed_out.disconnect(receive)


def test_others_are_not_touched(make_bound: Callable[..., Site], user: User) -> None:
    application = make_bound().application
    bob = User.objects.create_user("bob", password=PASSWORD)
    make_devices(user, application, 3)
    make_devices(bob, application, 3)

    sign_out_everywhere(user)

    assert (live(user), live(bob)) == ((0, 0), (3, 3))


@pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory, it has one connection")
@pytest.mark.usefixtures("small")
def test_refreshes_at_the_same_time_do_not_survive(make_bound: Callable[..., Site], user: User) -> None:
    """One device after the other refreshes, over and over, while all are signed out."""
    site = make_bound()
    begun, over = Event(), Event()
    statuses: set[int] = set()

    def refresh_on(names: list[str]) -> None:
        pairs = {name: site.bound(name).refresh for name in names}
        begun.set()
        while pairs and not over.is_set():
            for name, token in list(pairs.items()):
                answer = site.refresh(token)
                statuses.add(answer.status)
                if answer.status == 200:
                    pairs[name] = answer.refresh
                else:
                    del pairs[name]
        connection.close()

    make_devices(user, site.application, 30)
    thread = Thread(target=refresh_on, args=[[f"device {number}" for number in range(10)]])
    thread.start()
    assert begun.wait(30)
    sign_out_everywhere(user)
    assert live(user) == (0, 0)
    thread.join(60)
    over.set()

    assert statuses == {200, 400}
    assert live(user) == (0, 0)


# However many


def change_password(user: User) -> None:
    user.set_password("another correct horse")
    user.save()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


EVENTS: dict[str, Callable[[User], Any]] = {
    "signing out": sign_out_everywhere,
    "password change": change_password,
    "deactivation": deactivate,
    "deletion": lambda user: User.objects.get(pk=user.pk).delete(),
}


# Deleting a user is Django's own: it names all refresh tokens in one statement.
@pytest.mark.parametrize("event", [event for event in EVENTS if event != "deletion"])
def test_a_statement_names_a_bounded_number_of_rows(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User, event: str
) -> None:
    make_devices(user, make_bound().application, MOST_PARAMETERS + 2)
    make_pairs(user, make_site().application, [None] * (MOST_PARAMETERS + 2))
    jwts = AccessToken.objects.filter(binding=None)
    for number, pk in enumerate(jwts.values_list("pk", flat=True)):
        AccessToken.objects.filter(pk=pk).update(jti=f"jti {number}")

    with bounded_statements():
        EVENTS[event](user)

    unbound_stay = event == "password change"
    assert live(user) == ((MOST_PARAMETERS + 2,) * 2 if unbound_stay else (0, 0))


@pytest.mark.slow
@pytest.mark.parametrize("event", ["signing out", "password change", "deletion"])
def test_20000_devices(make_bound: Callable[..., Site], user: User, event: str) -> None:
    make_devices(user, make_bound().application, 20_000)
    assert len(devices_of(user)) == 20_000

    result = EVENTS[event](user)

    assert live(user) == (0, 0)
    if event == "signing out":
        assert result == 20_000


def test_device_codes_end_in_the_first_transaction(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound(grant_type="urn:ietf:params:oauth:grant-type:device_code")
    make_devices(user, get_application_model().objects.get(), 1)
    site.device_code("read")
    states: list[str] = []

    with between(1, lambda: states.extend(DeviceGrant.objects.values_list("status", flat=True))):
        sign_out_everywhere(user)

    assert states == [DeviceGrant.DENIED]
