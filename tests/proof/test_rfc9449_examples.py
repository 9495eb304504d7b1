"""The examples of RFC 9449: its proofs are good, at their time and at their address."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine

from oauth_binding.core.jose.algorithms import PROOF_ALGORITHMS
from oauth_binding.proof.dpop_proof import Proof, verify
from oauth_binding.proof.errors import InvalidProofError

#: Of the key that has signed all of them (section 6.1).
THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

#: The key is the same in all of them, and so is the header.
HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik"
    "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR"
    "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE"
    "QSIsImNydiI6IlAtMjU2In19"
)

#: Figure 2 (section 4.1), which the token request of section 5 presents with a code.
FOR_A_CODE = (
    f"{HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj"
    "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia"
    "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg"
    "4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)

#: The token request of section 5 that presents a refresh token.
FOR_A_REFRESH = (
    f"{HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj"
    "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia"
    "WF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5Qs"
    "GSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA"
)

#: The request to a protected resource of section 7.1, and its access token.
FOR_A_RESOURCE = (
    f"{HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj"
    "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z"
    "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF"
    "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E"
    "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
ACCESS_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
ACCESS_TOKEN_HASH = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"

TOKEN_ENDPOINT = {"method": "POST", "uri": "https://server.example.com/token"}
RESOURCE = {"method": "GET", "uri": "https://resource.example.org/protectedresource"}


def verified(text: str, at: float, **request: Any) -> Proof:
    with time_machine.travel(at, tick=False):
        return verify(text, **{"algorithms": PROOF_ALGORITHMS, **request})


def test_figure_2_is_a_good_proof_of_the_key_with_the_thumbprint_of_section_6_1() -> None:
    proof = verified(FOR_A_CODE, 1562262616, **TOKEN_ENDPOINT)

    assert proof.confirmation.claims == {"cnf": {"jkt": THUMBPRINT}}
    assert (proof.jti, proof.issued_at, proof.nonce, proof.token_digest) == (
        "-BwC3ESc6acc2lTc",
        1562262616,
        None,
        None,
    )


def test_the_signature_of_figure_2_is_what_makes_it_good() -> None:
    signed, _dot, signature = FOR_A_CODE.rpartition(".")

    for other in (FOR_A_REFRESH.rpartition(".")[2], signature[::-1][:-1] + "A"):
        with pytest.raises(InvalidProofError):
            verified(f"{signed}.{other}", 1562262616, **TOKEN_ENDPOINT)


def test_the_proof_of_the_refresh_in_section_5_is_of_the_same_key() -> None:
    proof = verified(FOR_A_REFRESH, 1562265296, **TOKEN_ENDPOINT)

    assert proof.confirmation.thumbprint == THUMBPRINT


def test_the_proof_of_section_7_1_is_for_the_access_token_there() -> None:
    proof = verified(FOR_A_RESOURCE, 1562262618, access_token=ACCESS_TOKEN, **RESOURCE)

    assert (proof.confirmation.thumbprint, proof.token_digest) == (THUMBPRINT, ACCESS_TOKEN_HASH)


@pytest.mark.parametrize("access_token", [ACCESS_TOKEN[:-1], ACCESS_TOKEN.swapcase(), "", ACCESS_TOKEN_HASH])
def test_the_proof_of_section_7_1_is_for_no_other_access_token(access_token: str) -> None:
    with pytest.raises(InvalidProofError):
        verified(FOR_A_RESOURCE, 1562262618, access_token=access_token, **RESOURCE)


@pytest.mark.parametrize(
    ("text", "issued", "request_"),
    [(FOR_A_CODE, 1562262616, TOKEN_ENDPOINT), (FOR_A_REFRESH, 1562265296, TOKEN_ENDPOINT)],
)
def test_a_proof_of_the_rfc_is_good_for_a_minute(text: str, issued: int, request_: dict[str, str]) -> None:
    for at in (issued - 10, issued, issued + 60):
        assert verified(text, at, **request_).issued_at == issued
    for at in (issued - 11, issued + 62):
        with pytest.raises(InvalidProofError):
            verified(text, at, **request_)


@pytest.mark.parametrize("changed", [{"method": "GET"}, {"uri": "https://server.example.com/tokens"}])
def test_figure_2_is_for_no_other_request(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidProofError):
        verified(FOR_A_CODE, 1562262616, **{**TOKEN_ENDPOINT, **changed})
