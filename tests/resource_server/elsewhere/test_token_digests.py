"""Which tokens are revoked, in little memory."""

from __future__ import annotations

import secrets
import sys
import threading
import tracemalloc

from oauth_binding.resource_server.token_digests import SPAN, TokenDigests


def test_what_was_added_is_there_and_nothing_else() -> None:
    tokens = {secrets.token_urlsafe(16): 1000.0 + number for number in range(20_000)}
    digests = TokenDigests()
    for _again in range(2):
        digests.add(tokens)
        assert len(digests) == 20_000
    assert all(jti in digests for jti in tokens)
    assert not any(secrets.token_urlsafe(16) in digests for _ in range(10_000))


def test_what_has_expired_is_forgotten_in_time() -> None:
    digests = TokenDigests()
    digests.add({"short": 10 * SPAN, "long": 11 * SPAN + 1})

    digests.forget(10 * SPAN - 1)
    assert len(digests) == 2
    digests.forget(11 * SPAN)
    assert "short" not in digests
    assert "long" in digests
    digests.forget(12 * SPAN)
    assert len(digests) == 0


def test_a_million_fit_into_24_megabytes_with_those_that_are_being_added() -> None:
    digests = TokenDigests()
    tracemalloc.start()
    try:
        for _ in range(20):
            digests.add({secrets.token_urlsafe(16): 1000.0 for _ in range(10_000)})
            tokens, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(digests) == 200_000
    assert tokens < 24 * 200_000 + 1_000_000


def test_others_ask_while_one_adds() -> None:
    digests = TokenDigests()
    known = [secrets.token_urlsafe(16) for _ in range(100)]
    digests.add(dict.fromkeys(known, 1000.0))
    missed: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            missed.extend(jti for jti in known if jti not in digests)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for span in range(10):
            digests.add({secrets.token_urlsafe(16): 1000.0 + span * SPAN for _ in range(10_000)})
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(before)
    assert missed == []
