"""Each proof of the table at each door: what is good opens it once, and what is not uses nothing up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from oauth_binding.core.jose.algorithms import PROOF_ALGORITHMS
from tests.ended.table import ALL_DOORS
from tests.helpers.client import Site
from tests.helpers.provider import provider
from tests.helpers.resource_server import Issuer
from tests.helpers.servers import serve
from tests.proof.doors import (
    DOORS,
    NAMED_HERE,
    RESOURCE,
    SCOPES,
    TOKEN_ENDPOINT,
    TRAITS,
    WITHOUT_PROOFS,
    Call,
    Door,
    Holder,
)
from tests.proof.forging import EC_KEY, About, Key
from tests.proof.rows import FINE, REFUSED, ROWS, Row

#: The doors that are there, as parameters of a test.
EACH_DOOR = [pytest.param(door, id=name) for name, door in DOORS.items() if door.is_there]


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """Return the server of the APIs elsewhere."""
    issuer = Issuer()
    with serve(issuer.answer) as issuer.url:
        yield issuer


@pytest.fixture
def make_holder(make_site: Callable[..., Site], issuer: Issuer) -> Iterator[Callable[[Key], Holder]]:
    """Return a factory of clients; there is one for each key."""
    cache.clear()
    holders: dict[Key, Holder] = {}
    with override_settings(ROOT_URLCONF="tests.ended.urls"), provider(SCOPES=SCOPES):
        yield lambda key: holders.setdefault(key, Holder(make_site, key, issuer))
    cache.clear()


class Down(LocMemCache):
    """A cache whose server does not answer."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__("down", params)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError


@contextmanager
def configured(here: dict[str, Any], elsewhere: dict[str, Any]) -> Iterator[None]:
    """Change the settings of proofs for a while, whichever project it is."""
    changed = {"OAUTH_BINDING": {**settings.OAUTH_BINDING, **here}}
    if (of_api := getattr(settings, "OAUTH_RESOURCE_SERVER", None)) is not None:
        changed["OAUTH_RESOURCE_SERVER"] = {**of_api, **elsewhere}
    with override_settings(**changed):
        yield


def nonces_everywhere() -> AbstractContextManager[None]:
    return configured({"DPOP_NONCES": "everywhere"}, {"DPOP_NONCES": True})


def replay_cache(alias: str) -> AbstractContextManager[None]:
    return configured({"DPOP_REPLAY_CACHE": alias}, {"DPOP_REPLAY_CACHE": alias})


def why_not(row: Row, door: Door) -> str | None:
    """Return why a row says nothing of a door, or None where it does."""
    return TRAITS[row.needs] if row.needs and row.needs not in door.has else None


def about(door: Door, rows: dict[str, Row]) -> dict[str, Row]:
    """Return the rows that say something of a door."""
    return {name: row for name, row in rows.items() if why_not(row, door) is None}


def present(row: Row, call: Call, proof: str | None) -> Any:
    return call.send({} if proof is None else {row.header: proof}, scheme=row.scheme, query=row.query)


def opens(door: Door, answer: Any) -> bool:
    """Return whether a door is open: at the token endpoint for a token that is bound to the key."""
    return answer.status_code == 200 and (
        door.kind != TOKEN_ENDPOINT or answer.json()["token_type"] == "DPoP"
    )


def is_refused(door: Door, answer: Any, row: Row) -> bool:
    """Return whether an answer is a right refusal: RFC 6749 section 5.2, RFC 9449 sections 5 and 7.1."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if door.kind == TOKEN_ENDPOINT:
        is_right = answer.status_code == 400 and answer["Cache-Control"] == "no-store" and not challenge
        return is_right and answer.json()["error"] == row.at_token_endpoint
    scheme = "DPoP" if row.scheme.lower() == "dpop" else "Bearer"
    first, _space, attributes = challenge.partition(" ")
    return (
        answer.status_code == 401
        and first == scheme
        and f'error="{row.at_resources}"' in attributes
        and (f'algs="{" ".join(PROOF_ALGORITHMS)}"' in attributes or scheme == "Bearer")
    )


def said(answer: Any) -> tuple[int, str, str | None]:
    return answer.status_code, answer.content.decode(), answer.headers.get("WWW-Authenticate")


@pytest.mark.parametrize("door", EACH_DOOR)
def test_a_good_proof_opens_a_door(make_holder: Callable[[Key], Holder], door: Door) -> None:
    faults = {}
    for name, row in about(door, FINE).items():
        holder = make_holder(row.key)
        call = door.call(holder)
        with door.under(holder):
            answer = present(row, call, row.proof(call.about(row.key)))
        if not opens(door, answer):
            faults[name] = said(answer)

    assert faults == {}


@pytest.mark.parametrize("door", EACH_DOOR)
def test_a_bad_proof_opens_no_door_and_uses_nothing_up(
    make_holder: Callable[[Key], Holder], door: Door
) -> None:
    """A refusal writes nothing: the same credential then works with a good proof, of the same ``jti``."""
    faults: dict[str, Any] = {}
    calls: dict[Key, Any] = {}
    for name, row in about(door, REFUSED).items():
        holder = make_holder(row.key)
        if row.key not in calls:
            call = door.call(holder)
            calls[row.key] = call, call.about(row.key)
        call, good = calls[row.key]
        proof = row.proof(good)
        with door.under(holder), CaptureQueriesContext(connection) as queries:
            answer = present(row, call, proof)
        if not is_refused(door, answer, row):
            faults[name] = said(answer)
        written = [
            sql
            for sql in (query["sql"] for query in queries)
            if sql.startswith(("INSERT", "UPDATE", "DELETE"))
        ]
        if written:
            faults[name] = written
    assert faults == {}

    for key, (call, good) in calls.items():
        with door.under(make_holder(key)):
            answer = call.send({"DPoP": good.proof()})
        assert opens(door, answer), said(answer)


@pytest.mark.parametrize("door", EACH_DOOR)
def test_a_proof_opens_a_door_once(make_holder: Callable[[Key], Holder], door: Door) -> None:
    holder = make_holder(EC_KEY)
    first, second = door.call(holder), door.call(holder)
    proof = first.about(EC_KEY).proof()

    with door.under(holder):
        assert opens(door, first.send({"DPoP": proof}))
        for _again in range(2):
            answer = second.send({"DPoP": proof})
            assert is_refused(door, answer, Row(lambda about: proof)), said(answer)
        answer = second.send({"DPoP": second.about(EC_KEY).proof()})
        assert opens(door, answer), said(answer)


@pytest.mark.parametrize("door", EACH_DOOR)
def test_a_door_that_wants_a_nonce_hands_it_out(make_holder: Callable[[Key], Holder], door: Door) -> None:
    """RFC 9449 sections 8 and 9; what was refused was not used, and a nonce may be used more than once."""
    holder = make_holder(EC_KEY)
    call, another = door.call(holder), door.call(holder)
    about = call.about(EC_KEY)
    wants_nonce = Row(About.proof, at_token_endpoint="use_dpop_nonce", at_resources="use_dpop_nonce")

    with door.under(holder), nonces_everywhere():
        for nonce in ({}, {"nonce": "x"}):
            answer = call.send({"DPoP": about.proof(claims=nonce)})
            assert is_refused(door, answer, wants_nonce), said(answer)
        nonce = {"nonce": answer["DPoP-Nonce"]}
        answer = call.send({"DPoP": about.proof(claims=nonce)})
        assert opens(door, answer), said(answer)
        assert answer["DPoP-Nonce"]
        answer = another.send({"DPoP": another.about(EC_KEY).proof(claims=nonce)})
        assert opens(door, answer), said(answer)


@pytest.mark.parametrize("door", EACH_DOOR)
def test_a_store_that_is_down_opens_no_door(make_holder: Callable[[Key], Holder], door: Door) -> None:
    """It can't be told whether the proof was used before; and the credential is there when it can."""
    holder = make_holder(EC_KEY)
    call = door.call(holder)
    about = call.about(EC_KEY)
    down = {"BACKEND": "tests.proof.test_table.Down"}

    with door.under(holder):
        with override_settings(CACHES={**settings.CACHES, "down": down}), replay_cache("down"):
            answer = call.send({"DPoP": about.proof()})
        assert answer.status_code == 503, said(answer)
        if door.kind == TOKEN_ENDPOINT:
            assert answer.json()["error"] == "temporarily_unavailable"
        answer = call.send({"DPoP": about.proof()})
        assert opens(door, answer), said(answer)


@pytest.mark.parametrize(
    "door",
    [
        pytest.param(door, id=name)
        for name, door in DOORS.items()
        # Without a token, a middleware signs nobody in.
        if door.is_there and door.kind == RESOURCE and "middleware" not in name
    ],
)
def test_without_a_token_a_door_tells_of_both_schemes(
    make_holder: Callable[[Key], Holder], door: Door
) -> None:
    holder = make_holder(EC_KEY)
    call = door.call(holder)

    with door.under(holder):
        answer = call.send({}, scheme="")

    challenge = answer["WWW-Authenticate"]
    assert answer.status_code == 401
    assert re.search(r"(^|, )Bearer\b", challenge)
    assert f'DPoP algs="{" ".join(PROOF_ALGORITHMS)}"' in challenge


def test_all_doors_are_in_the_table() -> None:
    named = {NAMED_HERE.get(name, name) for name in ALL_DOORS}

    assert named - {*DOORS, *WITHOUT_PROOFS} == set()
    assert {*WITHOUT_PROOFS, *NAMED_HERE} <= {*ALL_DOORS}
    assert DOORS.keys() & WITHOUT_PROOFS.keys() == set()


def test_each_row_is_about_doors_or_says_why_not() -> None:
    for row in ROWS.values():
        reasons = {why_not(row, door) for door in DOORS.values()}
        assert None in reasons
        assert reasons <= {None, TRAITS.get(row.needs)}
    assert {row.needs for row in ROWS.values()} == {"", *TRAITS}
