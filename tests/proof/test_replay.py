"""A proof is accepted once, and not at all where that can't be told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
import time_machine
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.models import UsedProof
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.errors import InvalidProofError, StoreUnavailableError
from oauth_binding.proof.replay import CacheStore, ReplayStore
from oauth_binding.proof.replay_table import TableStore
from tests.helpers.redis_server import PROGRAM, redis_server

JTI = "a-secret-of-the-client"


def proof(**changed: Any) -> Proof:
    good = Proof(
        confirmation=Confirmation("jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        target="https://server.example/token",
        jti=JTI,
        issued_at=time.time(),
    )
    return replace(good, **changed)


#: Proofs that are others, each by one thing.
OTHERS = {
    "another key": {"confirmation": Confirmation("jkt", "A" * 43)},
    "another address": {"target": "https://server.example/tokens"},
    "another jti": {"jti": JTI.upper()},
    # Written one after the other, these are what the first one is.
    "a jti that goes on in the address": {"target": f"https://server.example/token{JTI[:2]}", "jti": JTI[2:]},
}


class Answers(LocMemCache):
    """A cache whose ``add`` answers something else than a cache should."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__("answers", {})
        self.answer = params["OPTIONS"]["answer"]

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self.answer


class Broken(LocMemCache):
    """A cache whose server does not answer."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__("broken", {})
        self.error = params["OPTIONS"]["error"]

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise self.error


class Forgets(LocMemCache):
    """A cache whose server goes away between two questions."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__("forgets", {})

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no route to host")


@pytest.fixture
def make_cache(settings: Any, request: pytest.FixtureRequest) -> Callable[..., CacheStore]:
    """Return a factory of stores in a cache of their own."""

    def make(backend: type[Any] = LocMemCache, **options: Any) -> CacheStore:
        name = f"{backend.__module__}.{backend.__name__}"
        entry = {"BACKEND": name, "LOCATION": request.node.name, "OPTIONS": options}
        settings.CACHES = {**settings.CACHES, "proofs": entry}
        caches["proofs"].clear()
        return CacheStore("proofs")

    return make


@pytest.fixture(params=["cache", "table"])
def store(request: pytest.FixtureRequest, make_cache: Callable[..., CacheStore], db: None) -> ReplayStore:
    return TableStore() if request.param == "table" else make_cache()


def assert_used(store: ReplayStore, used: Proof) -> None:
    with pytest.raises(InvalidProofError, match="used before"):
        store.record(used)


class TestBothStores:
    def test_a_proof_is_accepted_once(self, store: ReplayStore) -> None:
        store.record(proof())

        for _again in range(3):
            assert_used(store, proof())

    @pytest.mark.parametrize("changed", OTHERS.values(), ids=OTHERS)
    def test_other_proofs_are_others(self, store: ReplayStore, changed: dict[str, Any]) -> None:
        store.record(proof())
        store.record(proof(**changed))

        assert_used(store, proof(**changed))

    @pytest.mark.parametrize(
        "changed", [{"issued_at": time.time() + 5}, {"nonce": "x"}, {"token_digest": "x"}]
    )
    def test_what_else_a_proof_says_makes_it_no_other(
        self, store: ReplayStore, changed: dict[str, Any]
    ) -> None:
        """A ``jti`` is unique (RFC 9449 section 4.2), so signing it once more is no way around."""
        store.record(proof())

        assert_used(store, proof(**changed))

    @pytest.mark.parametrize("age", [-10, 0, 59])
    def test_it_is_known_for_as_long_as_it_could_be_accepted(self, store: ReplayStore, age: int) -> None:
        """60 seconds from its ``iat`` on, 10 more, and 60 more where another server's clock is late."""
        with time_machine.travel(1_900_000_000, tick=False) as clock:
            used = proof(issued_at=1_900_000_000 - age)
            store.record(used)
            clock.move_to(used.issued_at + 129)
            assert_used(store, used)

    def test_it_is_not_known_for_much_longer(self, store: ReplayStore) -> None:
        with time_machine.travel(1_900_000_000, tick=False) as clock:
            store.record(proof())
            clock.shift(132)
            store.record(proof())
            assert_used(store, proof())

    def test_of_two_that_come_again_when_the_first_has_expired_one_is_accepted(
        self, store: ReplayStore
    ) -> None:
        with time_machine.travel(1_900_000_000, tick=False) as clock:
            store.record(proof())
            clock.shift(3600)
            store.record(proof())
            assert_used(store, proof())


class TestCaches:
    def test_a_server_whose_clock_is_ahead_keeps_it_for_as_long_as_another_accepts_it(
        self, make_cache: Callable[..., CacheStore], monkeypatch: Any
    ) -> None:
        """The cache forgets by its own clock: after so many seconds, whoever has said them."""
        seconds: list[int] = []

        def add(cache: Any, key: str, value: Any, timeout: int) -> bool:
            seconds.append(timeout)
            return True

        monkeypatch.setattr("django.core.cache.backends.locmem.LocMemCache.add", add)
        with time_machine.travel(1_900_000_000 + 60, tick=False):
            make_cache().record(proof(issued_at=1_900_000_000))

        assert seconds[0] >= 60

    def test_the_key_is_a_digest(self, make_cache: Callable[..., CacheStore], monkeypatch: Any) -> None:
        """Keys of caches are seen by operators, and are short."""
        keys: list[str] = []

        def add(cache: Any, key: str, *args: Any, **kwargs: Any) -> bool:
            keys.append(key)
            return True

        monkeypatch.setattr(LocMemCache, "add", add)

        make_cache().record(proof())

        assert re.fullmatch(r"oauth_binding\.proof:[0-9a-f]{64}", keys[0])

    @pytest.mark.parametrize("answer", [None, False, 0, 1, "True", []], ids=repr)
    def test_what_is_not_true_was_not_added(
        self, make_cache: Callable[..., CacheStore], answer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(StoreUnavailableError):
            make_cache(Answers, answer=answer).record(proof())

        assert [record.levelname for record in caplog.records] == ["ERROR"]

    @pytest.mark.parametrize("answer", [None, False, 0])
    def test_what_was_not_added_because_it_is_there_was_used(
        self, make_cache: Callable[..., CacheStore], answer: Any
    ) -> None:
        store = make_cache(Answers, answer=answer)
        caches["proofs"].set(f"oauth_binding.proof:{proof().replay_key}", 1)

        assert_used(store, proof())

    @pytest.mark.parametrize(
        "error", [ConnectionError("redis:6379"), OSError(), ValueError(), RuntimeError()]
    )
    def test_a_cache_that_raises(
        self, make_cache: Callable[..., CacheStore], error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(StoreUnavailableError):
            make_cache(Broken, error=error).record(proof())

        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_a_cache_that_goes_away(self, make_cache: Callable[..., CacheStore]) -> None:
        with pytest.raises(StoreUnavailableError):
            make_cache(Forgets).record(proof())

    def test_a_cache_that_keeps_nothing_would_accept_all(self, make_cache: Callable[..., CacheStore]) -> None:
        """It says that it has added what it has not: the deploy check E032 refuses such."""
        store = make_cache(DummyCache)
        store.record(proof())
        store.record(proof())

    def test_the_log_has_nothing_of_the_proof(
        self, make_cache: Callable[..., CacheStore], caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(StoreUnavailableError) as raised:
            make_cache(Broken, error=ConnectionError(JTI)).record(proof())

        assert JTI not in caplog.text + str(raised.value) + raised.value.description


@pytest.mark.skipif(PROGRAM is None, reason="there is no redis-server")
@pytest.mark.parametrize(
    "backend", ["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"]
)
class TestRedis:
    """Both kinds of caches in Redis that the documentation names."""

    def test_a_proof_is_accepted_once(self, backend: str, settings: Any) -> None:
        with redis_server() as server:
            settings.CACHES = {"proofs": {"BACKEND": backend, "LOCATION": server.url}}
            CacheStore("proofs").record(proof())
            assert_used(CacheStore("proofs"), proof())
            CacheStore("proofs").record(proof(jti="another"))
            server.stop()
            with pytest.raises(StoreUnavailableError):
                CacheStore("proofs").record(proof(jti="a third"))

    def test_it_is_forgotten_once_it_can_t_be_used_any_more(self, backend: str, settings: Any) -> None:
        with redis_server() as server:
            settings.CACHES = {"proofs": {"BACKEND": backend, "LOCATION": server.url}}
            old = proof(issued_at=time.time() - 129.5)
            CacheStore("proofs").record(old)
            assert_used(CacheStore("proofs"), old)
            assert redis.Redis.from_url(server.url).dbsize() == 1
            time.sleep(1.1)
            assert redis.Redis.from_url(server.url).dbsize() == 0


@pytest.mark.django_db
class TestTable:
    def test_the_key_is_a_digest(self) -> None:
        TableStore().record(proof())

        assert re.fullmatch("[0-9a-f]{64}", UsedProof.objects.get().key)

    def test_a_collision_leaves_the_transaction_of_the_site_usable(self) -> None:
        with transaction.atomic():
            TableStore().record(proof())
            assert_used(TableStore(), proof())
            assert UsedProof.objects.count() == 1

    def test_a_request_that_is_rolled_back_has_used_nothing(self) -> None:
        """Under ``ATOMIC_REQUESTS``, as the documentation says."""
        with transaction.atomic():
            TableStore().record(proof())
            transaction.set_rollback(True)

        TableStore().record(proof())

    def test_a_table_that_cannot_be_written(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(*_args: Any) -> Any:
            raise DatabaseError(f"{JTI} at db.example")

        with connection.execute_wrapper(fail), pytest.raises(StoreUnavailableError):
            TableStore().record(proof())

        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert JTI not in caplog.text

    def test_a_server_whose_clock_is_ahead_clears_none_that_another_accepts(self) -> None:
        with time_machine.travel(1_900_000_000, tick=False) as clock:
            TableStore().record(proof())
            clock.shift(59 + 60)
            call_command("clearbindings", verbosity=0)
            clock.shift(-60)
            assert_used(TableStore(), proof())

    def test_what_has_expired_is_cleared(self) -> None:
        TableStore().record(proof(issued_at=time.time() - 131))
        TableStore().record(proof(jti="another"))

        call_command("clearbindings", verbosity=0)

        assert UsedProof.objects.get().expires > timezone.now()
