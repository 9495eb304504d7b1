"""Two hosts with one database, whose clocks are apart, and a host whose clock is set back.

What is ended at one host is dead at once at the other, whichever clock is ahead.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from django.db import connection

from tests.concurrency.load import TIMEOUT, Event, Sender, User
from tests.concurrency.site import LOGGING_IN, RunningSite, another_server, running_site
from tests.helpers.dpop import DeviceKey
from tests.helpers.feed import read_feed

#: Of the Debian package "faketime".
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

#: What proofs are for at either host.
ISSUER = "https://issuer.example"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server"),
    pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime"),
]


def _wrong_clock(**variables: str) -> dict[str, str]:
    """Return the environment of a host with a clock of its own, by which nothing is measured but dates."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        **variables,
    }


@dataclass(frozen=True)
class Hosts:
    """Two hosts of one site, with clocks that are some seconds apart."""

    ahead: RunningSite
    behind: RunningSite
    seconds: int

    def __iter__(self) -> Iterator[RunningSite]:
        return iter((self.ahead, self.behind))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[RunningSite]:
    with (
        django_db_blocker.unblock(),
        running_site(tmp_path_factory.mktemp("site"), OIDC_ISS_ENDPOINT=ISSUER) as site,
    ):
        yield site


@pytest.fixture(scope="module", params=[5, 60], ids="{} seconds".format)
def hosts(request: pytest.FixtureRequest, site: RunningSite) -> Iterator[Hosts]:
    clock = _wrong_clock(FAKETIME=f"+{request.param}s")
    with another_server(site, f"ahead-{request.param}", **clock) as ahead:
        assert abs(_time_at(ahead) - _time_at(site) - request.param) <= 1
        yield Hosts(ahead, site, request.param)
        assert "Traceback" not in ahead.errors() + site.errors()


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[Hosts]:
    """Two hosts with clocks that are further apart than a token lives."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        directory = tmp_path_factory.mktemp("site")
        site = stack.enter_context(running_site(directory, ACCESS_TOKEN_EXPIRE_SECONDS=30))
        ahead = stack.enter_context(another_server(site, "ahead", **_wrong_clock(FAKETIME="+60s")))
        yield Hosts(ahead, site, 60)


@pytest.fixture(params=["the clock ahead", "the clock behind"])
def one_and_other(request: pytest.FixtureRequest, hosts: Hosts) -> tuple[RunningSite, RunningSite]:
    """The host at which something is done, and the one that has to know."""
    pair = (hosts.ahead, hosts.behind)
    return pair if request.param == "the clock ahead" else pair[::-1]


def _time_at(host: RunningSite) -> float:
    response = requests.get(f"{host.address}/oauth2/.well-known/jwks.json", timeout=TIMEOUT)
    return parsedate_to_datetime(response.headers["Date"]).timestamp()


def _status_at_api(host: RunningSite, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{host.address}/api/me/", headers=headers, timeout=TIMEOUT).status_code


def _assert_live(host: RunningSite, *events: Event) -> None:
    for event in events:
        assert event.status == 200, event.data
        assert Sender(host.address, event.client_id).is_active(event.access)
        assert _status_at_api(host, event.access) == 200


def _assert_dead(host: RunningSite, *events: Event) -> None:
    for event in events:
        sender = Sender(host.address, event.client_id)
        assert not sender.is_active(event.access)
        assert _status_at_api(host, event.access) == 401
        assert sender.refresh(None, event.data["refresh_token"]).status == 400


def _log_in(host: RunningSite, client_id: str, binding: str | None = None) -> Event:
    """Log in, on a device of its own unless one is named."""
    return Sender(host.address, client_id).login(binding or secrets.token_hex(8))


def _revoke_access_token(host: RunningSite, login: Event) -> None:
    assert Sender(host.address, login.client_id).revoke(None, login.access).status == 200


def _revoke_refresh_token(host: RunningSite, login: Event) -> None:
    assert Sender(host.address, login.client_id).revoke(None, login.data["refresh_token"]).status == 200


def _sign_out(host: RunningSite, login: Event) -> None:
    User(host.address).sign_out(login.client_id)


def _refresh(host: RunningSite, login: Event) -> Event:
    return Sender(host.address, login.client_id).refresh(None, login.data["refresh_token"])


def _supersede(host: RunningSite, login: Event) -> Event:
    return _log_in(host, login.client_id, login.binding)


#: What ends the tokens of a login; returns what takes their place, if anything does.
End = Callable[[RunningSite, Event], Event | None]

ENDS: tuple[End, ...] = (_revoke_access_token, _revoke_refresh_token, _sign_out, _refresh)

#: Another login supersedes nothing but a JWT that is bound.
ENDINGS: list[tuple[str, End]] = [*product(LOGGING_IN, ENDS), ("jwt", _supersede)]


@pytest.mark.parametrize(("client_id", "end"), ENDINGS)
def test_what_is_ended_at_one_host_is_dead_at_the_other(
    one_and_other: tuple[RunningSite, RunningSite], client_id: str, end: End
) -> None:
    one, other = one_and_other
    # Issued here or there.
    for issuing in (one, other):
        login = _log_in(issuing, client_id)
        for host in (one, other):
            _assert_live(host, login)
        successor = end(one, login)
        for host in (other, one):
            _assert_dead(host, login)
            if successor is not None:
                _assert_live(host, successor)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_slot_has_one_live_token_whoever_issues(hosts: Hosts, token_type: str) -> None:
    device = secrets.token_hex(8)
    answered = set()
    for host in (*hosts, *hosts):
        answered.add(_log_in(host, token_type, device).access)
        for asked in hosts:
            sender = Sender(asked.address, token_type)
            assert len([token for token in answered if sender.is_active(token)]) == 1
    assert len(answered) == (1 if token_type == "opaque" else 4)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_slot_has_one_live_token_when_both_hosts_issue_at_once(hosts: Hosts, token_type: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            device = secrets.token_hex(8)
            log_in = partial(_log_in, client_id=token_type, binding=device)
            events = list(pool.map(log_in, [*hosts] * 4))
            assert {event.status for event in events} == {200}
            for asked in hosts:
                sender = Sender(asked.address, token_type)
                assert len([token for token in {e.access for e in events} if sender.is_active(token)]) == 1


def test_a_proof_is_accepted_once_by_whichever_host(one_and_other: tuple[RunningSite, RunningSite]) -> None:
    one, other = one_and_other
    key = DeviceKey()
    # Of the moments that both take for the present: up to 10 seconds ahead, and 60 ago.
    made = {"iat": int(min(_time_at(one), _time_at(other))) + 8}
    proof = key.proof("POST", f"{ISSUER}/oauth2/token", claims=made)

    assert Sender(one.address, "dpop jwt").login(secrets.token_hex(8), proof).status == 200
    again = Sender(other.address, "dpop jwt").login(secrets.token_hex(8), proof)

    assert (again.status, again.data["error"]) == (400, "invalid_dpop_proof")
    assert "used before" in again.data["error_description"]


def test_a_proof_that_one_host_takes_for_old_is_good_at_the_other(hosts: Hosts) -> None:
    """It is not used up by having been refused."""
    key = DeviceKey()
    made = {"iat": int(_time_at(hosts.behind)) - 5 if hosts.seconds == 60 else int(_time_at(hosts.behind))}
    proof = key.proof("POST", f"{ISSUER}/oauth2/token", claims=made)
    device = secrets.token_hex(8)

    first = Sender(hosts.ahead.address, "dpop jwt").login(device, proof)

    if hosts.seconds == 60:
        assert (first.status, first.data["error"]) == (400, "invalid_dpop_proof")
        assert Sender(hosts.behind.address, "dpop jwt").login(device, proof).status == 200
    else:
        assert first.status == 200


def _read_feed(host: RunningSite) -> dict[str, int]:
    """Return what the feed names, of what was revoked a second ago."""
    time.sleep(1.1)

    def read(query: str) -> dict[str, Any]:
        response = requests.get(f"{host.address}/oauth2/revoked-tokens/{query}", timeout=TIMEOUT)
        return _claims(response.text)

    return read_feed(read)[0]


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest.mark.parametrize(
    ("client_id", "end"), [(client_id, end) for client_id, end in ENDINGS if "jwt" in client_id]
)
def test_the_feed_of_either_host_names_what_the_other_has_ended(
    one_and_other: tuple[RunningSite, RunningSite], client_id: str, end: End
) -> None:
    hosts = one_and_other
    login = _log_in(hosts[1], client_id)
    jti, expires = _claims(login.access)["jti"], _claims(login.access)["exp"]
    assert [_read_feed(host).get(jti) for host in hosts] == [None, None]
    end(hosts[0], login)
    assert [_read_feed(host).get(jti) for host in hosts] == [expires, expires]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_slot_whose_token_has_expired_by_one_clock_only(short_lived: Hosts, token_type: str) -> None:
    """The host with that clock issues anew; what was there is dead at the other one, too."""
    first = _log_in(short_lived.behind, token_type)
    _assert_live(short_lived.behind, first)
    second = _log_in(short_lived.ahead, token_type, first.binding)
    assert second.access != first.access
    for host in short_lived:
        _assert_live(host, second)
        _assert_dead(host, first)


@pytest.mark.parametrize(("client_id", "end"), ENDINGS)
def test_what_has_expired_by_one_clock_only_can_be_ended_there(
    short_lived: Hosts, client_id: str, end: End
) -> None:
    login = _log_in(short_lived.behind, client_id)
    _assert_live(short_lived.behind, login)
    end(short_lived.ahead, login)
    for host in short_lived:
        _assert_dead(host, login)
    if "jwt" in client_id:
        assert _claims(login.access)["jti"] in _read_feed(short_lived.behind)


@pytest.fixture
def set_clock(tmp_path: Path) -> Callable[[int], dict[str, str]]:
    """Return a function that sets the clock of a host, also while it runs, and returns its environment."""
    path = tmp_path / "clock"

    def set_it(seconds: int) -> dict[str, str]:
        path.with_suffix(".new").write_text(f"{seconds:+}s\n")
        os.replace(path.with_suffix(".new"), path)
        return _wrong_clock(FAKETIME_TIMESTAMP_FILE=str(path), FAKETIME_NO_CACHE="1")

    return set_it


def test_after_a_clock_was_set_back_what_was_ended_stays_ended(
    site: RunningSite, set_clock: Callable[[int], dict[str, str]]
) -> None:
    with another_server(site, "set-back", **set_clock(0)) as host:
        ended, successors = [], []
        for client_id, end in ENDINGS:
            login = _log_in(host, client_id)
            ended.append(login)
            successors.append(end(host, login))
        # Signing out ends what was issued until then.
        living = [_log_in(host, client_id) for client_id in LOGGING_IN]
        _assert_live(host, *living)

        before = _time_at(host)
        set_clock(-120)
        assert _time_at(host) < before - 100

        for either in (host, site):
            _assert_dead(either, *ended)
            _assert_live(either, *living)
        for login in living:
            successor = _refresh(host, login)
            for either in (host, site):
                _assert_dead(either, login)
                _assert_live(either, successor)
        assert "Traceback" not in host.errors() + site.errors()


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_after_a_clock_was_set_back_a_slot_has_one_live_token(
    site: RunningSite, set_clock: Callable[[int], dict[str, str]], token_type: str
) -> None:
    with another_server(site, f"set-back-{token_type}", **set_clock(0)) as host:
        first = _log_in(host, token_type)
        set_clock(-120)
        answered = {first.access, *(_log_in(each, token_type, first.binding).access for each in (host, site))}
        for asked in (host, site):
            sender = Sender(asked.address, token_type)
            assert len([token for token in answered if sender.is_active(token)]) == 1
        assert len(answered) == (1 if token_type == "opaque" else 3)
