"""How long checking a DPoP proof takes, beside PyJWT for the same proof (RFC 9449 section 4.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import jwt

from benchmarks.plan import OURS, PROOF_CHECK_BAR
from benchmarks.processes import Site
from tests.helpers.dpop import DeviceKey

_URI: Final = "https://api.example/accounts"


def compare(site: Site, rounds: int, proofs: int) -> list[str]:
    """Compare the two for a client whose proofs come again and again, and for keys that are all new.

    :param rounds: in which the two take turns.
    :param proofs: how many there are in a round.
    :returns: what has missed its bar.
    """
    process = site.process(OURS)
    missed = []
    for name, keys in (("a key that was seen", 1), ("new keys", proofs)):
        ratios: list[float] = [process.call("check_proofs", proofs=proofs, keys=keys) for _ in range(rounds)]
        ratio = median(ratios)
        print(f"checking a proof, {name}: {ratio:.2f} times as long as PyJWT", flush=True)
        if ratio > PROOF_CHECK_BAR:
            missed.append(f"checking a proof, {name}")
    return missed


# In the contender's site.


def check(proofs: int, keys: int) -> float:
    """Return how many times as long as PyJWT the app takes for the same proofs, ES256.

    :param keys: how many keys they have, in turns.
    """
    made = [DeviceKey() for _ in range(keys)]
    texts = [made[number % keys].proof("GET", _URI) for number in range(proofs)]
    return _seconds(_verify, texts) / _seconds(_verify_with_pyjwt, texts)


def _seconds(verify: Callable[[str], Any], texts: list[str]) -> float:
    started = time.perf_counter()
    for text in texts:
        verify(text)
    return time.perf_counter() - started


def _verify(text: str) -> None:
    from oauth_binding.proof.dpop_proof import verify

    verify(text, method="GET", uri=_URI, algorithms=("ES256", "EdDSA", "PS256"))


def _verify_with_pyjwt(text: str) -> None:
    key = jwt.PyJWK(jwt.get_unverified_header(text)["jwk"], "ES256")
    jwt.decode(text, key, algorithms=["ES256"])
