"""The decision table, and the keys it works on."""

import base64
import hashlib
import itertools

import pytest

from oauth_binding.binding.semantics import (
    DECISIONS,
    Decision,
    TokenType,
    binding_key,
    binding_reference,
    decide,
    slot_key,
)


@pytest.mark.parametrize(
    ("token_type", "live", "decision"),
    [
        (TokenType.OPAQUE, False, Decision.ISSUE),
        (TokenType.OPAQUE, True, Decision.REUSE),
        (TokenType.JWT, False, Decision.ISSUE),
        (TokenType.JWT, True, Decision.REPLACE),
    ],
)
def test_the_table(token_type: TokenType, live: bool, decision: Decision) -> None:
    assert decide(token_type, live) is decision


def test_the_table_is_total() -> None:
    assert set(DECISIONS) == set(itertools.product(TokenType, [False, True]))
    assert set(DECISIONS.values()) == set(Decision)


def test_a_slot_is_a_binding_with_a_set_of_scopes_and_a_set_of_resources() -> None:
    key = binding_key("1", "2", "client-request", "phone")
    slot = slot_key(key, ["read", "write"], ["https://a", "https://b"])

    assert slot == slot_key(key, ["write", "read", "read"], ["https://b", "https://a"])
    others = [
        slot_key(key, ["read"], ["https://a", "https://b"]),
        slot_key(key, ["read", "write"], ["https://a"]),
        slot_key(key, [], ["read", "write", "https://a", "https://b"]),
        slot_key(binding_key("1", "2", "client-request", "laptop"), ["read", "write"], ["https://a"]),
    ]
    assert len({slot, *others}) == 5


def test_every_part_of_a_binding_makes_another_key() -> None:
    parts = [
        ("1", "2", "client-request", "x"),
        ("2", "1", "client-request", "x"),
        ("12", None, "client-request", "x"),
        ("1", None, "client-request", "x"),
        ("1", "2", "other", "x"),
        ("1", "2", "client-request", "X"),
        ("1", "2", "client-request", " x"),
        ("1", "2", "client-request", "x "),
        ("1", "2", "client-request", ""),
        ("1", "2", "client-request", '","'),
        ("1", "None", "client-request", "x"),
    ]
    keys = {binding_key(*part) for part in parts}
    assert len(keys) == len(parts)
    assert all(len(key) == 64 for key in keys)


@pytest.mark.parametrize("value", ["uniqueId", "Gerät-ü-📱", " "])
def test_the_reference_is_the_unpadded_base64url_sha256_of_the_utf8_bytes(value: str) -> None:
    digest = hashlib.sha256(value.encode("utf-8")).digest()
    assert binding_reference(value) == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert len(binding_reference(value)) == 43
