"""The table of proofs: what a request presents, and what comes of it.

It has what the OpenID Foundation's conformance tests of FAPI 2 try with DPoP, good and bad, and what RFC 9449
sections 4.3 and 11 and RFC 8725 ask for beyond that.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from tests.proof.forging import (
    EC_KEY,
    ED_KEY,
    OTHER_KEY,
    RSA_KEY,
    SHORT_RSA_KEY,
    About,
    Key,
    access_token_hash,
    base64url,
    jws,
)

P384_KEY: Final = Key("ES384", ec.generate_private_key(ec.SECP384R1()))


@dataclass(frozen=True)
class Row:
    """A way to present a proof."""

    #: The header ``DPoP`` of a request, or None where it has none.
    proof: Callable[[About], str | None]
    #: Whether it is good.
    is_fine: bool = False
    #: The error of a refusal at the token endpoint (RFC 9449 section 5).
    at_token_endpoint: str = "invalid_dpop_proof"
    #: The error of a refusal at a protected resource (RFC 9449 section 7.1).
    at_resources: str = "invalid_dpop_proof"
    #: What a door has to have for this to mean anything: one of ``tests.proof.doors.TRAITS``, or empty.
    needs: str = ""
    #: The key of the client.
    key: Key = EC_KEY
    #: What the header is called.
    header: str = "DPoP"
    #: The scheme of the access token.
    scheme: str = "DPoP"
    #: The query string of the request.
    query: str = ""


def fine(proof: Callable[[About], str | None], **more: Any) -> Row:
    return Row(proof, is_fine=True, **more)


def header(key: Key = EC_KEY, **parameters: Any) -> Row:
    """Return a row with other header parameters."""
    return Row(lambda about: about.proof(header=parameters), key=key)


def claims(**claims: Any) -> Row:
    """Return a row with other claims."""
    return Row(lambda about: about.proof(claims=claims))


def by(key: Key, **more: Any) -> Row:
    """Return a row with a proof of another key than the client's."""
    return Row(lambda about: replace(about, key=key).proof(), **more)


def address(change: Callable[[str], Any]) -> Row:
    """Return a row with another ``htu``."""
    return Row(lambda about: about.proof(claims={"htu": change(about.uri)}))


def time_of(claim: str, seconds: float) -> Row:
    """Return a row with a time that is so many seconds ahead."""
    return Row(lambda about: about.proof(claims={claim: int(time.time()) + seconds}))


def jwk(**members: Any) -> Row:
    """Return a row with more members of the key than a proof should have."""
    return header(jwk={**EC_KEY.jwk, **members})


def without(name: str, **more: Any) -> Row:
    return Row(lambda about: about.proof(drop=[name]), **more)


def is_fine(row: Row) -> Row:
    return replace(row, is_fine=True)


def _path(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda uri: uri.replace(path := urlsplit(uri).path, change(path))


def _with_zero(number: str) -> str:
    """Return a number with a byte before it that adds nothing (RFC 7518 section 2 has one form of it)."""
    return base64url(b"\0" + base64.urlsafe_b64decode(number + "=="))


def _unsigned(about: About) -> str:
    return jws(about.key, about.header(alg="none"), about.claims()).rpartition(".")[0] + "."


def _symmetric(about: About) -> str:
    secret = Key("HS256", b"a secret of thirty-two bytes, ok")
    shown = {"kty": "oct", "k": base64url(secret.private)}
    return jws(secret, about.header(alg="HS256", jwk=shown), about.claims())


def _other_signature(about: About) -> str:
    return f"{about.proof().rpartition('.')[0]}.{about.proof(claims={'x': 1}).rpartition('.')[2]}"


def _forged(about: About) -> str:
    """Show the client's key, and sign with another."""
    return jws(OTHER_KEY, about.header(), about.claims())


def _name_twice(written: dict[str, Any], name: str) -> str:
    return json.dumps(written)[:-1] + f", {json.dumps(name)}: {json.dumps(written[name])}}}"


FINE: Final[dict[str, Row]] = {
    "a proof as it should be": fine(About.proof),
    "a key for EdDSA": fine(About.proof, key=ED_KEY),
    "a key for PS256": fine(About.proof, key=RSA_KEY),
    "the header's name in capitals": fine(About.proof, header="DPOP"),
    "the header's name in small letters": fine(About.proof, header="dpop"),
    "the scheme's name in small letters": fine(About.proof, scheme="dpop", needs="scheme"),
    "htu with a query": is_fine(address(lambda uri: f"{uri}?a=b")),
    "htu with a fragment": is_fine(address(lambda uri: f"{uri}#c")),
    "htu without the query of the request": fine(About.proof, query="?a=b", needs="query"),
    "htu with another query than the request": fine(
        lambda about: about.proof(claims={"htu": f"{about.uri}?c=d"}), query="?a=b", needs="query"
    ),
    "htu with an upper-case host": is_fine(address(lambda uri: uri.replace("testserver", "TestServer"))),
    "htu with an upper-case scheme": is_fine(address(lambda uri: uri.replace("https", "HTTPS"))),
    "htu with the port 443": is_fine(address(lambda uri: uri.replace("testserver", "testserver:443"))),
    "htu with an empty port": is_fine(address(lambda uri: uri.replace("testserver", "testserver:"))),
    "htu with a letter escaped": is_fine(address(_path(lambda path: f"/%{ord(path[1]):x}{path[2:]}"))),
    "htu with dot segments": is_fine(address(_path(lambda path: f"/x/./..{path}"))),
    "iat ten seconds ago": is_fine(time_of("iat", -10)),
    "iat ten seconds ahead": is_fine(time_of("iat", 10)),
    "iat most of a minute ago": is_fine(time_of("iat", -50)),
    "iat with a fraction": is_fine(time_of("iat", -0.5)),
    "exp in a minute": is_fine(time_of("exp", 60)),
    "nbf a minute ago": is_fine(time_of("nbf", -60)),
    "claims of somebody else's": is_fine(claims(iss="me", nested={"a": [1, None]})),
    "header parameters of somebody else's": is_fine(header(kid="one", cty="json")),
    "jwk with a kid": is_fine(jwk(kid="one", use="sig", alg="ES256")),
    "jti of one character": is_fine(Row(lambda about: about.proof(claims={"jti": about.jti[:1]}))),
    "jti of 256 characters": is_fine(
        Row(lambda about: about.proof(claims={"jti": about.jti.ljust(256, "x")}))
    ),
    "a nonce that nobody asked for": is_fine(claims(nonce="x")),
}

REFUSED: Final[dict[str, Row]] = {
    # The header.
    "no proof": Row(lambda about: None),
    "an empty header": Row(lambda about: ""),
    "two headers": Row(lambda about: f"{about.proof()},{about.proof()}"),
    "two headers, with a space": Row(lambda about: f"{about.proof()}, {about.proof(claims={'x': 1})}"),
    "no JWT": Row(lambda about: "proof"),
    "three parts that are nothing": Row(lambda about: "a.b.c"),
    "the access token": Row(lambda about: about.access_token, needs="ath"),
    "two parts": Row(lambda about: about.proof().rpartition(".")[0]),
    "four parts": Row(lambda about: f"{about.proof()}.AAAA"),
    "padding": Row(lambda about: f"{about.proof()}="),
    "more than 4 KB": claims(padding="x" * 4096),
    "bytes beyond ASCII": Row(lambda about: about.proof() + "é"),
    # Its header.
    "without typ": without("typ"),
    "without alg": without("alg"),
    "without jwk": without("jwk"),
    "typ of a JWT": header(typ="JWT"),
    "typ of an access token": header(typ="at+jwt"),
    "typ that is no text": header(typ=["dpop+jwt"]),
    "RS256": Row(lambda about: jws(RSA_KEY, about.header(alg="RS256"), about.claims(), "RS256"), key=RSA_KEY),
    "alg none": Row(_unsigned),
    "alg none, with a signature": header(alg="none"),
    "alg in small letters": header(alg="es256"),
    "typ in capitals": header(typ="DPOP+JWT"),
    "typ with its registry": header(typ="application/dpop+jwt"),
    "alg that is no text": header(alg=["ES256"]),
    "alg of another kind of keys": header(alg="EdDSA"),
    "alg of another curve": by(P384_KEY),
    "a symmetric key": Row(_symmetric),
    "an RSA key of 1024 bits": by(SHORT_RSA_KEY),
    "a private key": header(jwk=EC_KEY.private_jwk),
    "a private key of an RSA key": header(RSA_KEY, jwk=RSA_KEY.private_jwk),
    "jwk with another alg": jwk(alg="EdDSA"),
    "jwk for encryption": jwk(use="enc"),
    "jwk that is a text": header(jwk=json.dumps(EC_KEY.jwk)),
    "jwk that is a list": header(jwk=[EC_KEY.jwk]),
    "jwk of no kind": header(jwk={**EC_KEY.jwk, "kty": "XY"}),
    "jwk of a point beside the curve": header(jwk={**EC_KEY.jwk, "y": EC_KEY.jwk["x"]}),
    "jwk with a coordinate that is no text": header(jwk={**EC_KEY.jwk, "x": 1}),
    "jwk of RSA with a leading zero": Row(
        lambda about: about.proof(header={"jwk": {**RSA_KEY.jwk, "n": _with_zero(RSA_KEY.jwk["n"])}}),
        key=RSA_KEY,
    ),
    "jwk without a coordinate": header(jwk={"kty": "EC", "crv": "P-256", "x": EC_KEY.jwk["x"]}),
    "a critical header parameter": header(crit=["x"], x=1),
    "b64": header(b64=True),
    "typ twice": Row(lambda about: jws(about.key, _name_twice(about.header(), "typ"), about.claims())),
    "a header that is no object": Row(lambda about: jws(about.key, [about.header()], about.claims())),
    # Its signature.
    "the signature of another proof": Row(_other_signature),
    "the signature of another key": Row(_forged),
    "an empty signature": Row(lambda about: about.proof().rpartition(".")[0] + "."),
    # Its claims.
    **{f"without {name}": without(name) for name in ("jti", "htm", "htu", "iat")},
    "claims that are no object": Row(lambda about: jws(about.key, about.header(), [about.claims()])),
    "iat twice": Row(lambda about: jws(about.key, about.header(), _name_twice(about.claims(), "iat"))),
    "htm of another method": claims(htm="PATCH"),
    "htm in small letters": Row(lambda about: about.proof(claims={"htm": about.method.lower()})),
    "htm that is no text": claims(htm=None),
    "htu of another path": address(lambda uri: f"{uri}x"),
    "htu without the slash at the end": address(lambda uri: uri.rstrip("/")),
    "htu of another host": address(lambda uri: uri.replace("testserver", "other.example")),
    "htu of another port": address(lambda uri: uri.replace("testserver", "testserver:8443")),
    "htu without TLS": address(lambda uri: uri.replace("https", "http")),
    "htu without a host": address(lambda uri: urlsplit(uri).path),
    "htu with a user": address(lambda uri: uri.replace("testserver", "user@testserver")),
    "htu with a letter escaped twice": address(_path(lambda path: f"/%25{ord(path[1]):x}{path[2:]}")),
    "htu with a path in capitals": address(_path(str.upper)),
    "htu that is no text": address(lambda uri: [uri]),
    "htu that is empty": claims(htu=""),
    "htu that is no address": claims(htu="https://[testserver/"),
    "htu with a line feed": address(lambda uri: f"{uri}\n"),
    "iat an hour ago": time_of("iat", -3600),
    "iat in an hour": time_of("iat", 3600),
    "iat more than a minute ago": time_of("iat", -75),
    "iat more than ten seconds ahead": time_of("iat", 25),
    "iat as a text": Row(lambda about: about.proof(claims={"iat": str(int(time.time()))})),
    "iat that is true": claims(iat=True),
    "iat that is null": claims(iat=None),
    "iat without an end": claims(iat=10**400),
    "iat that is no number": Row(
        lambda about: jws(about.key, about.header(), json.dumps(about.claims(iat=float("nan"))))
    ),
    "exp a minute ago": time_of("exp", -60),
    "exp as a text": claims(exp="9999999999"),
    "nbf in a minute": time_of("nbf", 60),
    "nbf as a text": claims(nbf="0"),
    "jti of 257 characters": claims(jti="x" * 257),
    "jti that is empty": claims(jti=""),
    "jti that is a number": claims(jti=1),
    "jti with a NUL": claims(jti="a\0b"),
    "jti with half a character": claims(jti="\ud800"),
    # What it is for.
    "without ath": without("ath", needs="ath"),
    "ath of another token": replace(claims(ath=access_token_hash("another")), needs="ath"),
    "ath that is no digest": Row(lambda about: about.proof(claims={"ath": about.access_token}), needs="ath"),
    "ath that is no text": replace(claims(ath=True), needs="ath"),
    "another key": by(
        OTHER_KEY,
        at_token_endpoint="invalid_grant",
        at_resources="invalid_token",
        needs="key",
    ),
    "Bearer instead": Row(lambda about: None, scheme="Bearer", at_resources="invalid_token", needs="scheme"),
    "Bearer, with a proof": Row(About.proof, scheme="Bearer", at_resources="invalid_token", needs="scheme"),
}

ROWS: Final = {**FINE, **REFUSED}
