"""Nonces: any process of the server knows its own for five minutes, and nobody else makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.core.signing import Signer, TimestampSigner, dumps

from oauth_binding.proof.nonces import LIFETIME, is_fresh, new_nonce

#: The moment at which the nonce is made, in seconds since the epoch.
NOW = 1_800_000_000


@pytest.fixture
def nonce() -> str:
    return str(at(NOW, new_nonce))


def at(moment: float, ask: Callable[..., Any], *args: str) -> Any:
    with time_machine.travel(moment, tick=False):
        return ask(*args)


@pytest.mark.parametrize("age", [0, 1, LIFETIME - 1, LIFETIME])
def test_a_nonce_is_fresh_for_its_lifetime(nonce: str, age: int) -> None:
    assert at(NOW + age, is_fresh, nonce)


@pytest.mark.parametrize("age", [LIFETIME + 2, 3600, 86400 * 365])
def test_an_old_nonce_is_not(nonce: str, age: int) -> None:
    assert not at(NOW + age, is_fresh, nonce)


@pytest.mark.parametrize("ahead", [1, 10])
def test_the_clocks_of_processes_may_be_apart(nonce: str, ahead: int) -> None:
    assert at(NOW - ahead, is_fresh, nonce)


@pytest.mark.parametrize("ahead", [600, 86400 * 365])
def test_a_nonce_of_the_future_is_not_fresh_until_then(nonce: str, ahead: int) -> None:
    """A clock that was set right again must not leave nonces that live for years."""
    assert not at(NOW - ahead, is_fresh, nonce)


def test_another_secret_key_makes_other_nonces(nonce: str, settings: Any) -> None:
    settings.SECRET_KEY = "another"

    assert not at(NOW, is_fresh, nonce)


def test_a_secret_key_that_is_changed_lets_nonces_live_as_a_fallback(nonce: str, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"

    assert at(NOW, is_fresh, nonce)
    assert not at(NOW + LIFETIME + 2, is_fresh, nonce)


def test_what_else_the_secret_key_has_signed_is_no_nonce() -> None:
    signed = [TimestampSigner().sign(""), TimestampSigner(salt="x").sign(""), Signer().sign("x"), dumps({})]
    for text in signed:
        assert not is_fresh(text.removeprefix(":"))


@pytest.mark.parametrize(
    "change", [str.swapcase, lambda n: n[:-1], lambda n: n + "x", lambda n: f"x{n}", lambda n: f":{n}"]
)
def test_a_nonce_that_was_changed(nonce: str, change: Callable[[str], str]) -> None:
    assert not at(NOW, is_fresh, change(nonce))


@pytest.mark.parametrize("text", ["", ":", "::", "a:b", "é:é", "\0", "x" * 100_000, ":" * 100_000])
def test_other_texts(text: str) -> None:
    assert not is_fresh(text)


def test_a_nonce_can_stand_in_a_header(nonce: str) -> None:
    """RFC 9449 section 8.1: NQCHAR."""
    assert 0 < len(nonce) < 128
    assert set(nonce) <= {chr(c) for c in range(0x21, 0x7F)} - {'"', "\\"}
