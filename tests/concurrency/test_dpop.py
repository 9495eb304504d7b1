"""Proofs of possession between processes (RFC 9449): each is accepted once, and a pair has one key."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from threading import Barrier

import jwt
import pytest

from tests.concurrency.cluster import settle
from tests.concurrency.load import Event, Sender
from tests.concurrency.rounds import ROUNDS, assert_statuses, in_the_long_form_on_sqlite
from tests.concurrency.site import PROVING, RunningSite, another_server
from tests.helpers.dpop import DeviceKey
from tests.helpers.redis_server import PROGRAM, RedisServer, redis_server

pytestmark = pytest.mark.slow

#: Connections that send at the same moment.
CONNECTIONS = 16

Request = Callable[[Sender], Event]


@pytest.fixture(scope="module")
def site(running_sites: Callable[..., RunningSite]) -> RunningSite:
    """The site, which keeps the proofs that it has accepted in the database."""
    return running_sites()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("needs redis-server")
    with redis_server() as redis:
        yield redis


@pytest.fixture(scope="module")
def site_with_redis(site: RunningSite, redis: RedisServer) -> Iterator[RunningSite]:
    """A server of the same site that keeps them in Redis."""
    with another_server(site, "redis", CONCURRENCY_REDIS=redis.url) as server:
        yield server


@pytest.fixture(params=["table", "Redis"])
def keeping(request: pytest.FixtureRequest) -> RunningSite:
    """The site with each of the places in which accepted proofs are kept."""
    server: RunningSite = request.getfixturevalue("site" if request.param == "table" else "site_with_redis")
    return server


#: How refresh tokens are refreshed -> what the provider has for it.
REFRESHING = {
    "rotation": "{}",
    "rotation, grace period": '{"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 30}',
    "no rotation": '{"ROTATE_REFRESH_TOKEN": false}',
}


@pytest.fixture(scope="module")
def refreshing(site: RunningSite) -> Iterator[dict[str, RunningSite]]:
    """Servers of the same site that refresh in each of the ways."""
    with ExitStack() as stack:
        others = {
            name: stack.enter_context(
                another_server(site, name.replace(", ", "-"), CONCURRENCY_PROVIDER=provider)
            )
            for name, provider in REFRESHING.items()
            if name != "rotation"
        }
        yield {"rotation": site, **others}


def at_token_endpoint(site: RunningSite, key: DeviceKey) -> str:
    """Return a new proof for a token request."""
    return key.proof("POST", f"{site.address}/oauth2/token")


def at_api(site: RunningSite, key: DeviceKey, access_token: str) -> str:
    """Return a new proof for a request to the API."""
    return key.proof("GET", f"{site.address}/api/me/", access_token=access_token)


def at_once(site: RunningSite, client_ids: Sequence[str], requests: Sequence[Request]) -> list[Event]:
    """Send requests from many connections, which begin together; the clients take turns."""
    number = min(CONNECTIONS, len(requests))
    barrier = Barrier(number)

    def send(client_id: str, share: Sequence[Request]) -> list[Event]:
        sender = Sender(site.address, client_id)
        Sender(site.address, "opaque").introspect("warm up")
        barrier.wait()
        return [request(sender) for request in share]

    shares = [requests[n::number] for n in range(number)]
    with ThreadPoolExecutor(number) as pool:
        events = pool.map(send, islice(cycle(client_ids), number), shares)
        return [event for share in events for event in share]


def outcomes(events: list[Event]) -> Counter[tuple[int, str | None]]:
    """Return how often there was which status, with which error."""
    return Counter((event.status, event.data.get("error")) for event in events)


def key_of(site: RunningSite, token: str) -> str | None:
    """Return the thumbprint of the key of a live token, "" for a bearer token, or None: it has ended."""
    event = Sender(site.address, "opaque").introspect(token)
    assert event.status == 200
    if not event.data["active"]:
        return None
    thumbprint: str = event.data.get("cnf", {}).get("jkt", "")
    assert event.data["token_type"] == ("DPoP" if thumbprint else "Bearer")
    return thumbprint


def test_of_64_simultaneous_token_requests_with_one_proof_one_is_answered(keeping: RunningSite) -> None:
    proof = at_token_endpoint(keeping, DeviceKey())
    # Of two clients, as a thief may be another one.
    clients = ("dpop opaque", "dpop jwt")

    events = at_once(keeping, clients, [partial(Sender.login, binding="phone", proof=proof)] * 64)

    assert outcomes(events) == {(200, None): 1, (400, "invalid_dpop_proof"): 63}
    assert "Traceback" not in keeping.errors()


def test_of_64_simultaneous_requests_to_an_api_with_one_proof_one_is_let_in(keeping: RunningSite) -> None:
    key = DeviceKey()
    login = Sender(keeping.address, "dpop jwt").login("tablet", at_token_endpoint(keeping, key))
    settle()
    proof = at_api(keeping, key, login.access)

    events = at_once(keeping, ["dpop jwt"], [partial(Sender.call, token=login.access, proof=proof)] * 64)

    assert outcomes(events) == {(200, None): 1, (401, "invalid_dpop_proof"): 63}
    assert "Traceback" not in keeping.errors()


@pytest.mark.parametrize("failure", [RedisServer.stop, RedisServer.hang])
def test_no_proof_is_accepted_while_redis_is_down(
    site_with_redis: RunningSite, redis: RedisServer, failure: Callable[[RedisServer], None]
) -> None:
    site, key = site_with_redis, DeviceKey()
    sender = Sender(site.address, "dpop opaque")
    login = sender.login("watch", at_token_endpoint(site, key))
    settle()
    requests: list[Callable[[], Event]] = []
    for _ in range(20):
        proof, other = at_token_endpoint(site, key), at_api(site, key, login.access)
        requests += [partial(sender.login, "watch", proof), partial(sender.call, login.access, other)] * 2

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        sent = [pool.submit(request) for request in requests]
        for _ in islice(as_completed(sent), len(sent) // 2):
            pass
        # What is under way while it stops may be answered either way.
        stopping = time.monotonic()
        failure(redis)
        stopped = time.monotonic()
        events = [request.result() for request in sent]

    try:
        assert max(Counter(event.sent for event in events if event.status == 200).values()) == 1
        before = [event for event in events if event.ended < stopping]
        after = [event for event in events if event.started > stopped]
        assert {event.status for event in before} == {200, 400, 401}
        assert {event.status for event in after} == {503}
        assert {event.kind for event in after} == {"login", "call"}
        assert {event.data["error"] for event in after if event.kind == "login"} == {
            "temporarily_unavailable"
        }
        # Who proves nothing is not concerned.
        assert sender.login("another").status == 200
    finally:
        redis.go_on()
    assert sender.login("watch", at_token_endpoint(site, key)).status == 200


#: Which confirmation the tokens that are kept as text have.
_CONFIRMATIONS = """
from oauth2_provider.models import AccessToken
tokens = AccessToken.objects.filter(token__in=%r)
result = dict(tokens.values_list("token", "binding_confirmation"))
"""


@pytest.mark.parametrize("client_id", PROVING[:2])
def test_of_two_keys_of_one_device_at_the_same_moment_one_has_the_live_token(
    site: RunningSite, client_id: str
) -> None:
    """As a device that changes its key: whichever request is last, there is one live token for the id."""
    keys = [DeviceKey(), DeviceKey()]
    asked: dict[str, str] = {}
    for key in keys * 16:
        asked[at_token_endpoint(site, key)] = key.thumbprint

    events = at_once(
        site, [client_id], [partial(Sender.login, binding="phone", proof=proof) for proof in asked]
    )

    assert_statuses(events)
    settle()
    owners = defaultdict(set)
    for event in events:
        assert event.data["token_type"] == "DPoP"
        owners[event.access].add(asked[event.sent])
    assert {len(thumbprints) for thumbprints in owners.values()} == {1}
    if client_id == "dpop jwt":
        stated = {t: jwt.decode(t, options={"verify_signature": False})["cnf"]["jkt"] for t in owners}
    else:
        stored = site.run(_CONFIRMATIONS % [*owners])
        stated = {token: confirmation.removeprefix("jkt:") for token, confirmation in stored.items()}
    assert stated == {token: thumbprint for token, (thumbprint,) in owners.items()}
    live = {token: thumbprint for token in owners if (thumbprint := key_of(site, token)) is not None}
    assert len(live) == 1
    assert live.items() <= stated.items()
    # Nor is there a second refresh token.
    of_live = {event.data["refresh_token"] for event in events if event.access in live}
    others = {event.data["refresh_token"] for event in events} - of_live
    sender = Sender(site.address, client_id)
    for token in others:
        for key in keys:
            assert sender.refresh(None, token, at_token_endpoint(site, key)).status == 400
    assert "Traceback" not in site.errors()


def refresh_at_once(
    site: RunningSite, client_id: str, proofs: Sequence[str | None], choose: random.Random
) -> tuple[Event, list[Event]]:
    """Log in without a proof, and refresh with each of the proofs, some of them later than others."""
    senders = [Sender(site.address, client_id) for _ in proofs]
    login = senders[0].login("phone")
    assert login.status == 200
    settle()
    delays = {bool(proof): choose.uniform(0, 0.03) for proof in proofs}

    def send(sender: Sender, proof: str | None) -> Event:
        time.sleep(delays[bool(proof)])
        return sender.refresh(None, login.data["refresh_token"], proof)

    with ThreadPoolExecutor(len(proofs)) as pool:
        events = list(pool.map(send, senders, proofs))
    settle()
    return login, events


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("way", REFRESHING)
@pytest.mark.parametrize("client_id", PROVING)
def test_once_a_pair_has_a_key_nobody_without_it_gets_a_token_of_it(
    refreshing: dict[str, RunningSite], client_id: str, way: str
) -> None:
    """An unconstrained refresh token is refreshed with a proof and without one at the same moment."""
    site, choose = refreshing[way], random.Random(client_id + way)
    sender = Sender(site.address, client_id)
    seen: set[bool] = set()
    for number in range(60 * ROUNDS):
        if number >= 4 * ROUNDS and seen == {True, False}:
            break
        key = DeviceKey()
        proofs = [at_token_endpoint(site, key), at_token_endpoint(site, key), None, None]
        login, events = refresh_at_once(site, client_id, proofs, choose)

        # Who has sent no proof may have been told to send one.
        assert outcomes(events[:2]).keys() <= {(200, None), (400, "invalid_grant")}
        refused = {(400, "invalid_grant"), (400, "invalid_dpop_proof")}
        assert outcomes(events[2:]).keys() <= {(200, None), *refused}
        answers: dict[bool, list[Event]] = {True: [], False: []}
        for event, proof in zip(events, proofs, strict=True):
            if event.status == 200:
                answers[bool(proof)].append(event)
                assert event.data["token_type"] == ("DPoP" if proof else "Bearer")
        assert any(answers.values())
        seen |= {proven for proven, answered in answers.items() if answered}

        live = {key_of(site, event.access) for event in answers[True]} - {None}
        assert live <= {key.thumbprint}
        bearers = {key_of(site, event.access) for event in [login, *answers[False]]} - {None}
        assert bearers <= {""}
        if not answers[True]:
            continue
        assert bearers == set()
        assert live == {key.thumbprint}
        refresh_tokens = {event.data["refresh_token"] for event in [login, *answers[True], *answers[False]]}
        for token in refresh_tokens:
            assert sender.refresh(None, token).status == 400
            if "public" in client_id:
                other = at_token_endpoint(site, DeviceKey())
                assert sender.refresh(None, token, other).status == 400
        own = answers[True][-1].data["refresh_token"]
        assert sender.refresh(None, own, at_token_endpoint(site, key)).status == 200
    assert seen == {True, False}
    assert "Traceback" not in site.errors()


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("way", REFRESHING)
def test_of_two_keys_for_the_pair_of_a_public_client_one_has_it(
    refreshing: dict[str, RunningSite], way: str
) -> None:
    site, choose, client_id = refreshing[way], random.Random(way), PROVING[-1]
    sender = Sender(site.address, client_id)
    for _ in range(4 * ROUNDS):
        keys = [DeviceKey(), DeviceKey()]
        proofs = [at_token_endpoint(site, key) for key in keys]
        _login, events = refresh_at_once(site, client_id, proofs, choose)

        assert outcomes(events) == {(200, None): 1, (400, "invalid_grant"): 1}
        (winner,) = [n for n, event in enumerate(events) if event.status == 200]
        assert key_of(site, events[winner].access) == keys[winner].thumbprint
        own = events[winner].data["refresh_token"]
        assert sender.refresh(None, own, at_token_endpoint(site, keys[1 - winner])).status == 400
        assert sender.refresh(None, own, at_token_endpoint(site, keys[winner])).status == 200


@in_the_long_form_on_sqlite
@pytest.mark.parametrize("way", ["rotation", "no rotation"])
@pytest.mark.parametrize("client_id", PROVING[:4])
def test_a_pair_that_is_given_a_key_is_not_exchanged_without_it(
    refreshing: dict[str, RunningSite], client_id: str, way: str
) -> None:
    """Its access token has ended by then, and its refresh token as well or it has the key."""
    site, choose = refreshing[way], random.Random(client_id + way)
    sender = Sender(site.address, client_id)
    backends = [Sender(site.address, name) for name in ("exchanging opaque", "exchanging unbound")]
    seen: set[int] = set()
    for number in range(60 * ROUNDS):
        if number >= 4 * ROUNDS and seen == {200, 400}:
            break
        login = sender.login("phone")
        settle()
        key = DeviceKey()
        subjects = {"access_token": login.access, "refresh_token": login.data["refresh_token"]}

        def refresh(
            login: Event = login,
            proof: str = at_token_endpoint(site, key),
            delay: float = choose.uniform(0, 0.03),
        ) -> Event:
            time.sleep(delay)
            return sender.refresh(None, login.data["refresh_token"], proof)

        with ThreadPoolExecutor(5) as pool:
            refreshing_ = pool.submit(refresh)
            exchanging = [
                pool.submit(backend.exchange, None, subject, kind)
                for kind, subject in subjects.items()
                for backend in backends
            ]
            refreshed, exchanged = refreshing_.result(), [each.result() for each in exchanging]
        settle()
        assert refreshed.status == 200
        assert outcomes(exchanged).keys() <= {
            (200, None),
            (400, "invalid_grant"),
            (400, "invalid_dpop_proof"),
        }
        late = [
            backend.exchange(None, subject, kind)
            for kind, subject in subjects.items()
            for backend in backends
        ]
        assert {event.status for event in late} == {400}
        assert {event.status for event in exchanged if event.started > refreshed.ended} <= {400}
        seen |= {event.status for event in exchanged}
    assert seen == {200, 400}
    assert "Traceback" not in site.errors()
