"""Verifying a proof, as far as no door shows it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from oauth_binding.core.jose.algorithms import PROOF_ALGORITHMS
from oauth_binding.proof.dpop_proof import Proof, verify
from oauth_binding.proof.errors import InvalidProofError
from tests.proof.forging import ED_KEY, RSA_KEY, About, jws

ABOUT = About("POST", "https://server.example/token")

#: Something that must not come back.
SECRET = "s3cret"


def verified(text: str, about: About = ABOUT, **changed: Any) -> Proof:
    return verify(
        text, **{"method": about.method, "uri": about.uri, "algorithms": PROOF_ALGORITHMS, **changed}
    )


def refusal(text: str, **changed: Any) -> str:
    with pytest.raises(InvalidProofError) as raised:
        verified(text, **changed)
    return raised.value.description


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"{SECRET}.{SECRET}.{SECRET}",
        *(
            ABOUT.proof(header=header)
            for header in ({"typ": SECRET}, {"alg": SECRET}, {"jwk": SECRET}, {"jwk": {"kty": SECRET}})
        ),
        ABOUT.proof(header={"jwk": {**ABOUT.key.jwk, "x": SECRET}}),
        ABOUT.proof(header={"jwk": {**ABOUT.key.jwk, "crv": SECRET}}),
        *(
            ABOUT.proof(claims={"htu": htu})
            for htu in (
                SECRET,
                f"https://{SECRET}.example/",
                f"https://server.example:{SECRET}/",
                f"https://[{SECRET}]/",
                f"https://{SECRET}\u2100.example/",
                f"https://{SECRET}@server.example/token",
            )
        ),
        *(ABOUT.proof(claims={name: SECRET}) for name in ("htm", "iat", "exp", "nbf")),
        ABOUT.proof(claims={"jti": f"{SECRET}\ud800"}),
        ABOUT.proof(claims={"jti": f"{SECRET}\0"}),
        jws(ABOUT.key, ABOUT.header(), f'{{"{SECRET}": {SECRET}}}'),
        jws(ABOUT.key, ABOUT.header(), f'{{"{SECRET}": 1, "{SECRET}": 2}}'),
        jws(ABOUT.key, ABOUT.header(), SECRET),
    ],
    ids=itertools.count(),
)
def test_a_refusal_says_nothing_that_was_sent(text: str) -> None:
    description = refusal(text)

    assert SECRET not in description
    assert {SECRET, "ud800", "xff"} & {*description.split()} == set()


@pytest.mark.parametrize(
    "text", [ABOUT.proof(claims={"jti": "\ud800"}), jws(ABOUT.key, ABOUT.header(), "\xff")], ids=[1, 2]
)
def test_a_refusal_is_what_a_header_can_have(text: str) -> None:
    """RFC 6749 section 5.2: NQSCHAR."""
    description = refusal(text)

    assert set(description) <= {chr(code) for code in range(0x20, 0x7F)} - {'"', "\\"}


def test_a_proof_shows_no_secret_of_its_own() -> None:
    proof = verified(ABOUT.proof(claims={"jti": SECRET, "nonce": f"{SECRET}-nonce"}))

    assert SECRET not in repr(proof)
    assert SECRET not in str(proof)


@pytest.mark.parametrize("algorithm", PROOF_ALGORITHMS)
def test_only_the_algorithms_of_the_setting_are_accepted(algorithm: str) -> None:
    keys = {"ES256": ABOUT.key, "EdDSA": ED_KEY, "PS256": RSA_KEY}
    for other, key in keys.items():
        text = replace(ABOUT, key=key).proof()
        if other == algorithm:
            assert verified(text, algorithms=[algorithm]).confirmation.thumbprint == key.thumbprint
        else:
            assert (
                refusal(text, algorithms=[algorithm])
                == "The DPoP proof is not valid: its alg is not accepted."
            )


def test_rs256_is_accepted_where_the_setting_has_it() -> None:
    about = replace(ABOUT, key=RSA_KEY)
    text = jws(RSA_KEY, about.header(alg="RS256"), about.claims(), "RS256")

    assert verified(text, algorithms=["RS256"]).confirmation.thumbprint == RSA_KEY.thumbprint
    assert refusal(text)


def test_a_proof_of_4096_characters_is_as_long_as_one_may_be() -> None:
    def padded(length: int) -> str:
        return ABOUT.proof(claims={"padding": "x" * length})

    length = next(n for n in range(2000, 4000) if len(padded(n)) >= 4095)

    assert len(padded(length)) <= 4096
    assert verified(padded(length))
    assert refusal(padded(length + 3)) == "The DPoP proof has more than 4096 characters."
