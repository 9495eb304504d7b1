"""Keys that sign JWT access tokens: their algorithms, who chooses one, and their life in file and JWK set."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import jwt
import pytest
import time_machine
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from jwcrypto.jwk import JWK, JWKSet
from jwcrypto.jwt import JWT
from oauth2_provider.models import Application

from oauth_binding.authorization_server.signing.key_file import FileKey, generate, parse
from oauth_binding.core.toolkit_paths import jwk_from_pem
from oauth_binding.models import TokenExchangeRule
from tests.helpers.client import Site
from tests.helpers.exchange import JWT as TOKEN_TYPE_JWT
from tests.helpers.exchange import allow, exchange
from tests.helpers.project import ROOT
from tests.helpers.provider import provider
from tests.helpers.staff import policy

JWKS = "/oauth2/.well-known/jwks.json"
FEED = "/oauth2/revoked-tokens/"
METADATA = "/oauth2/.well-known/oauth-authorization-server"
ALGORITHMS = ["RS256", "ES256", "EdDSA"]

#: What a JWK has that nobody else may see (RFC 7518 section 6, RFC 8037 section 2).
SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

#: In minutes: twice the cache time of the JWK set, the life of a token, and the margin of both.
ANNOUNCED = 2 * 60 + 15
PUBLISHED = 60 + 15

pytestmark = pytest.mark.django_db


class Keys:
    """A site's file of signing keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.printed = ""

    def run(self, *arguments: str) -> str:
        """Run the command, and return what it printed."""
        output = StringIO()
        call_command("signingkeys", *arguments, stdout=output)
        self.printed += output.getvalue()
        return output.getvalue()

    def create(self, algorithm: str, announce_for: int = 0) -> str:
        """Make a key, and return its kid."""
        self.run("create", "--algorithm", algorithm, "--announce-for", str(announce_for))
        return str(self.jwks[-1]["kid"])

    def rotate(self, *arguments: str) -> str:
        """Rotate, and return the kid of the new key."""
        self.run("rotate", *arguments)
        return str(self.jwks[-1]["kid"])

    def write(self, *keys: FileKey) -> None:
        self.path.write_text(json.dumps({"keys": [key.jwk for key in keys]}))

    @property
    def jwks(self) -> list[dict[str, Any]]:
        jwks: list[dict[str, Any]] = json.loads(self.path.read_text())["keys"]
        return jwks


@pytest.fixture
def keys(tmp_path: Path, settings: Any) -> Keys:
    """A site with a file of signing keys, which is yet to be made."""
    path = tmp_path / "signing-keys.json"
    settings.OAUTH_BINDING = {"SIGNING_KEYS": str(path), "REVOCATION_FEED": True}
    return Keys(path)


def prefer(settings: Any, algorithm: str) -> None:
    """Set the site's default algorithm."""
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "SIGNING_ALGORITHM": algorithm}


def published() -> dict[str, dict[str, Any]]:
    """Return the JWK set as verifiers get it, by kid."""
    response = Client().get(JWKS)
    assert response.status_code == 200
    jwks: list[dict[str, Any]] = response.json()["keys"]
    assert len({jwk["kid"] for jwk in jwks}) == len(jwks)
    return {jwk["kid"]: jwk for jwk in jwks}


def toolkit_kid() -> str:
    return str(jwk_from_pem(site_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]).thumbprint())


def header(token: str) -> dict[str, Any]:
    text = token.split(".")[0]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def signer(site: Site) -> str:
    """Return the kid of a new token, after verifying it."""
    return str(header(verified(site.token().access))["kid"])


def verified(token: str) -> str:
    """Verify a JWT as an API would: by the published key that it names, which is for its algorithm."""
    head = header(token)
    jwk = published()[head["kid"]]
    assert (jwk["alg"], jwk["use"]) == (head["alg"], "sig")
    JWT(jwt=token, key=JWKSet.from_json(json.dumps({"keys": [jwk]})), algs=ALGORITHMS)
    return token


@contextmanager
def later(**delta: float) -> Iterator[None]:
    """Move all clocks."""
    with time_machine.travel(timezone.now().timestamp() + timedelta(**delta).total_seconds()):
        yield


# Algorithms


@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestAlgorithms:
    def test_tokens_are_signed_with_the_default_algorithm_of_the_site(
        self, keys: Keys, settings: Any, make_bound: Callable[..., Site], algorithm: str
    ) -> None:
        kid = keys.create(algorithm)
        prefer(settings, algorithm)

        token = make_bound("jwt").bound("phone").access

        assert header(token) == {"alg": algorithm, "typ": "at+jwt", "kid": kid}
        verified(token)

    @pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # in favour of another name (RFC 9864)
    def test_a_second_library_verifies_them_by_the_published_set(
        self, keys: Keys, make_site: Callable[..., Site], algorithm: str
    ) -> None:
        keys.create(algorithm)
        token = make_site(token_type="jwt", access_token_algorithm=algorithm).token().access

        key_set = KeySet.import_key_set(Client().get(JWKS).json())

        assert joserfc_jwt.decode(token, key_set, algorithms=[algorithm]).claims["sub"]

    @pytest.mark.parametrize("binding_type", ["none", "client-request"])
    def test_they_are_introspected_accepted_refreshed_and_revoked(
        self, keys: Keys, make_site: Callable[..., Site], algorithm: str, binding_type: str
    ) -> None:
        keys.create(algorithm)
        site = make_site(token_type="jwt", token_binding_type=binding_type, access_token_algorithm=algorithm)

        first = site.token()
        assert header(first.access)["alg"] == algorithm
        assert site.active(first.access)
        assert site.introspect(first.access)["jti"]
        assert site.api(first.access) == 200

        second = site.refresh(first.refresh)
        assert header(verified(second.access))["alg"] == algorithm
        assert not site.active(first.access)

        assert site.revoke(second.access).status == 200
        assert not site.active(second.access)
        assert site.api(second.access) == 401

    def test_the_revocation_feed_is_signed_with_the_default_algorithm(
        self, keys: Keys, settings: Any, make_bound: Callable[..., Site], algorithm: str
    ) -> None:
        kid = keys.create(algorithm)
        prefer(settings, algorithm)
        site = make_bound("jwt", access_token_algorithm="RS256")
        site.revoke(site.bound("phone").access)

        feed = Client().get(FEED)

        assert header(feed.content.decode()) == {
            "alg": algorithm,
            "typ": "revoked-tokens+jwt",
            "kid": kid,
        }
        verified(feed.content.decode())
        assert Client().get(FEED, headers={"If-None-Match": feed["ETag"]}).status_code == 304
        keys.rotate("--announce-for", "0")
        again = Client().get(FEED, headers={"If-None-Match": feed["ETag"]})
        assert header(verified(again.content.decode()))["kid"] not in (kid, toolkit_kid())

    def test_they_are_exchanged(
        self, keys: Keys, make_bound: Callable[..., Site], make_site: Callable[..., Site], algorithm: str
    ) -> None:
        keys.create(algorithm)
        mobile = make_bound("jwt", access_token_algorithm=algorithm)
        backend = make_site(
            "client_credentials",
            as_user=None,
            token_type="jwt",
            access_token_algorithm=algorithm,
            additional_grant_types="token-exchange",
        )
        allow(backend, mobile)
        subject = mobile.bound("phone").access

        exchanged = exchange(backend, subject)

        assert exchanged.status == 200, exchanged.data
        assert header(verified(exchanged.access))["alg"] == algorithm
        assert backend.active(exchanged.access)
        mobile.revoke(subject)
        assert not backend.active(exchanged.access)
        assert exchange(backend, subject).status == 400

    def test_a_token_of_this_server_is_not_one_of_another(
        self, keys: Keys, settings: Any, make_bound: Callable[..., Site], algorithm: str
    ) -> None:
        """Even where this server is configured as an issuer, and after the key has served its time."""
        keys.create(algorithm)
        mobile = make_bound("jwt", access_token_algorithm=algorithm)
        backend = make_bound("jwt", "client_credentials", additional_grant_types="token-exchange")
        subject = mobile.bound("phone")
        claims = mobile.introspect(subject.access)
        options = {
            "KEYS": {"keys": list(published().values())},
            "AUDIENCE": claims["iss"],
            "USER_FIELD": "id",
            "ALGORITHMS": ALGORITHMS,
        }
        settings.OAUTH_BINDING = {
            **settings.OAUTH_BINDING,
            "TOKEN_EXCHANGE_ISSUERS": {claims["iss"]: options},
        }
        TokenExchangeRule.objects.create(
            client=backend.application, subject_issuer=claims["iss"], impersonation=True
        )
        mobile.revoke(subject.access)

        def accepted() -> bool:
            return exchange(backend, subject.access, subject_token_type=TOKEN_TYPE_JWT).status == 200

        assert not accepted()
        now = int(time.time())
        keys.write(parse(keys.jwks[0]).retire(now, now))
        assert not accepted()
        unreadable = keys.path.with_name("unreadable.json")
        unreadable.write_text("{}")
        settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "SIGNING_KEYS": unreadable}
        assert not accepted()
        settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "SIGNING_KEYS": None}
        assert accepted()  # no key of this server any more


# Choice


def test_an_application_chooses_its_own_algorithm(
    keys: Keys, settings: Any, make_site: Callable[..., Site]
) -> None:
    kids = {algorithm: keys.create(algorithm) for algorithm in ALGORITHMS}
    prefer(settings, "EdDSA")

    chosen = {
        algorithm: signer(make_site(token_type="jwt", access_token_algorithm=algorithm))
        for algorithm in ["", *ALGORITHMS]
    }

    assert chosen == {"": kids["EdDSA"], **kids}


def test_a_choice_counts_from_the_next_token_on(keys: Keys, make_bound: Callable[..., Site]) -> None:
    keys.create("ES256")
    site = make_bound("jwt")
    before = site.bound("phone")
    Application.objects.update(access_token_algorithm="ES256")

    assert header(verified(before.access))["alg"] == "RS256"
    assert site.active(before.access)
    assert header(verified(site.refresh(before.refresh).access))["alg"] == "ES256"


def test_without_a_file_all_is_as_before(settings: Any, make_site: Callable[..., Site]) -> None:
    settings.OAUTH_BINDING = {}
    site = make_site(token_type="jwt")

    assert signer(site) == toolkit_kid()
    assert list(published()) == [toolkit_kid()]


def test_rs256_is_signed_by_the_toolkits_key_until_the_file_has_one(
    keys: Keys, make_site: Callable[..., Site]
) -> None:
    keys.create("ES256")
    site = make_site(token_type="jwt")
    assert signer(site) == toolkit_kid()

    kid = keys.create("RS256", announce_for=60)
    assert signer(site) == toolkit_kid()
    with later(minutes=61):
        assert signer(site) == kid
        assert {toolkit_kid(), kid} <= published().keys()


def test_id_tokens_are_signed_by_the_toolkit(
    keys: Keys, settings: Any, make_site: Callable[..., Site]
) -> None:
    keys.create("ES256")
    keys.create("RS256")
    prefer(settings, "ES256")
    site = make_site("authorization_code", token_type="jwt", algorithm="RS256")

    answer = site.token(scope="openid read")

    assert header(verified(answer["id_token"]))["kid"] == toolkit_kid()
    assert header(verified(answer.access))["alg"] == "ES256"


def test_a_key_of_the_toolkit_that_is_in_the_file_too_is_published_once(keys: Keys) -> None:
    key = jwk_from_pem(site_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"])
    jwk = {**key.export_private(as_dict=True), "alg": "RS256", "use": "sig", "nbf": 0}
    keys.write(parse({**jwk, "kid": key.thumbprint()}))

    assert list(published()) == [toolkit_kid()]


@pytest.mark.parametrize("oidc", [True, False])
def test_the_set_is_named_in_the_metadata_without_a_key_of_the_toolkit(
    keys: Keys, settings: Any, make_site: Callable[..., Site], oidc: bool
) -> None:
    kid = keys.create("EdDSA")
    prefer(settings, "EdDSA")
    site = make_site(token_type="jwt")

    with provider(OIDC_ENABLED=oidc, OIDC_RSA_PRIVATE_KEY=""):
        assert Client().get(METADATA).json()["jwks_uri"] == f"http://testserver{JWKS}"
        assert signer(site) == kid
        assert list(published()) == [kid]


def test_the_discovery_document_names_the_algorithms_of_id_tokens(keys: Keys, settings: Any) -> None:
    keys.create("EdDSA")
    prefer(settings, "EdDSA")

    document = Client().get("/oauth2/.well-known/openid-configuration").json()

    assert document["jwks_uri"] == f"http://testserver{JWKS}"
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "HS256"]


@pytest.mark.parametrize("algorithm", ["ES256", "HS256", "none"])
def test_an_algorithm_without_a_key_is_a_server_error(
    keys: Keys, make_bound: Callable[..., Site], caplog: pytest.LogCaptureFixture, algorithm: str
) -> None:
    keys.create("EdDSA")
    site = make_bound("jwt", access_token_algorithm=algorithm)

    answer = site.bound("phone")

    assert (answer.status, answer["error"]) == (503, "server_error")
    assert f"no {algorithm} key" in caplog.text


# The life of a key


def test_a_key_is_announced_used_retired_and_gone(
    keys: Keys, settings: Any, make_bound: Callable[..., Site]
) -> None:
    prefer(settings, "ES256")
    old = keys.create("ES256")
    site = make_bound("jwt")
    tokens = {"before": site.bound("before").access}
    new = keys.rotate()

    with later(minutes=ANNOUNCED - 1):
        assert {old, new} <= published().keys()
        tokens["announced"] = site.bound("announced").access
    with later(minutes=ANNOUNCED + 1):
        assert {old, new} <= published().keys()
        assert site.active(verified(tokens["announced"]))
        tokens["used"] = site.bound("used").access
    with later(minutes=ANNOUNCED + 58):
        assert site.active(verified(tokens["announced"]))
        assert site.active(verified(tokens["used"]))
        tokens["retired"] = site.bound("retired").access
    with later(minutes=ANNOUNCED + PUBLISHED - 1):
        assert {old, new} <= published().keys()
    with later(minutes=ANNOUNCED + PUBLISHED + 1):
        assert old not in published()
        assert site.active(verified(tokens["retired"]))

    assert [header(token)["kid"] for token in tokens.values()] == [old, old, new, new]


def test_rotating_daily_refuses_no_token(keys: Keys, settings: Any, make_bound: Callable[..., Site]) -> None:
    prefer(settings, "EdDSA")
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ACCESS_TOKEN_EXPIRE_SECONDS": 26 * 60 * 60}
    keys.create("EdDSA")
    site = make_bound("jwt")
    tokens: list[str] = []
    signers = set()

    for hours in range(0, 24 * 4, 5):
        with later(hours=hours):
            if hours % 4 == 0:
                keys.rotate()
            tokens.append(site.bound(f"device {hours}").access)
            signers.add(header(tokens[-1])["kid"])
            for token in tokens[-6:]:  # those that live
                assert site.active(verified(token))

    assert len(signers) > 3
    with later(days=30):
        keys.run("rotate")
        assert len(keys.jwks) == 2


def test_the_newest_key_signs(keys: Keys, make_site: Callable[..., Site]) -> None:
    now = int(time.time())
    oldest, old = generate("ES256", now - 300), generate("ES256", now - 200)
    ended = generate("ES256", now - 100).retire(now - 50, now + 50)
    announced, other = generate("ES256", now + 100), generate("EdDSA", now - 10)
    keys.write(oldest, ended, old, announced, other)

    assert signer(make_site(token_type="jwt", access_token_algorithm="ES256")) == old.kid
    assert len(published()) == 1 + 5


def test_a_change_of_the_file_counts_at_once(keys: Keys, make_site: Callable[..., Site]) -> None:
    site = make_site(token_type="jwt", access_token_algorithm="ES256")
    now = int(time.time())
    for _change in range(3):
        key = generate("ES256", now)
        keys.write(key)  # in place
        assert signer(site) == key.kid
    for _change in range(3):
        kid = keys.rotate("--announce-for", "0")  # by another file in its place
        assert signer(site) == kid


def test_an_unchanged_file_is_read_once(keys: Keys, make_site: Callable[..., Site]) -> None:
    keys.create("RS256")
    site = make_site(token_type="jwt")
    signer(site)

    with mock.patch("pathlib.Path.read_bytes", side_effect=AssertionError("read again")):
        for _request in range(3):
            site.token()
            published()


# A file that breaks


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _nest(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def _garble(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()  # permissions do not keep root out


BREAKAGES = [_remove, _truncate, _empty, _nest, _garble, _make_unreadable]


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_file_that_breaks_does_not_break_a_running_process(
    keys: Keys,
    make_site: Callable[..., Site],
    caplog: pytest.LogCaptureFixture,
    breakage: Callable[[Path], None],
) -> None:
    kid = keys.create("ES256")
    text = keys.path.read_bytes()
    site = make_site(token_type="jwt", access_token_algorithm="ES256")
    assert signer(site) == kid

    breakage(keys.path)
    for _request in range(3):
        assert signer(site) == kid
    logged = [
        record
        for record in caplog.records
        if record.name == "oauth_binding.authorization_server.signing.key_file"
    ]
    assert len(logged) == 1
    assert logged[0].levelno == logging.ERROR
    assert str(keys.path) in logged[0].getMessage()

    if keys.path.is_dir():
        keys.path.rmdir()
    new = generate("ES256", int(time.time()))
    keys.path.write_bytes(text)
    assert signer(site) == kid
    keys.write(new)
    assert signer(site) == new.kid


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_process_that_never_read_a_good_file_does_not_sign(
    keys: Keys, make_site: Callable[..., Site], breakage: Callable[[Path], None]
) -> None:
    text = json.dumps({"keys": [generate("ES256", 0).jwk]}).encode()
    keys.path.write_bytes(text)
    breakage(keys.path)
    site = make_site(token_type="jwt", access_token_algorithm="ES256")

    answer = site.token()
    jwk_set = Client().get(JWKS)

    assert (answer.status, answer["error"]) == (503, "server_error")
    # Nobody replaces the set that he has by a part of it.
    assert (jwk_set.status_code, jwk_set["Cache-Control"]) == (503, "no-store")
    assert Client().get(FEED).status_code == 404
    if keys.path.is_dir():
        keys.path.rmdir()
    keys.path.write_bytes(text)
    assert site.token().status == 200
    assert Client().get(JWKS).status_code == 200


def jwk_of(private_key: Any, **members: Any) -> dict[str, Any]:
    key = JWK.from_pyca(private_key)
    common = {"kid": key.thumbprint(), "use": "sig", "nbf": 1}
    return {**key.export_private(as_dict=True), **common, **members}


def es256(**members: Any) -> dict[str, Any]:
    """Return a sound key with other members; None takes one out."""
    jwk = {**generate("ES256", 1).jwk, **members}
    return {name: value for name, value in jwk.items() if value is not None}


def rs256(**members: Any) -> dict[str, Any]:
    """Return a sound RSA key with other members; None takes one out."""
    jwk = {**generate("RS256", 1).jwk, **members}
    return {name: value for name, value in jwk.items() if value is not None}


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public(jwk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != "d"}


TWICE = es256()

#: (what is wrong, the keys, what is said)
UNSOUND: list[tuple[str, Any, str]] = [
    ("no set", None, "not a JWK set"),
    ("no list", {}, "not a JWK set"),
    ("no object", ["x"], "key 1 is not a JSON object"),
    ("a short RSA key", [jwk_of(rsa.generate_private_key(65537, 1024), alg="RS256")], "1024 bits"),
    ("another curve", [jwk_of(ec.generate_private_key(ec.SECP384R1()), alg="ES256")], "EC P-256"),
    (
        "another curve of the same length",
        [jwk_of(ec.generate_private_key(ec.SECP256K1()), alg="ES256")],
        "EC",
    ),
    ("Ed448", [jwk_of(ed448.Ed448PrivateKey.generate(), alg="EdDSA")], "OKP Ed25519"),
    ("a key for another algorithm", [es256(alg="EdDSA")], "not a private key for EdDSA"),
    ("no algorithm", [es256(alg=None)], "not one of RS256, ES256, EdDSA"),
    ("an algorithm that is not offered", [es256(alg="ES384")], "not one of RS256, ES256, EdDSA"),
    ("a list of algorithms", [es256(alg=["ES256"])], "not one of RS256, ES256, EdDSA"),
    ("a public key", [public(es256())], "not a private key"),
    ("the private key of another one", [{**es256(), "d": es256()["d"]}], "not a private key"),
    (
        "an Ed25519 key whose public part is another's",
        [jwk_of(ed25519.Ed25519PrivateKey.generate(), alg="EdDSA", x=generate("EdDSA", 1).jwk["x"])],
        "key 1 ",
    ),
    ("members that are no text", [es256(d=1)], "not a private key"),
    ("a member that is a list", [es256(x=["AQAB"])], "not a private key"),
    ("members that are not base64url", [es256(d="!")], "not a private key"),
    ("members of half a character", [es256(x="\ud800")], "not a private key"),
    ("too short a member", [es256(d="AQAB")], "not a private key"),
    ("a point that is not on the curve", [es256(x=base64url(bytes(32)))], "not a private key"),
    ("no type", [es256(kty=None)], "not a private key"),
    ("an unknown curve", [es256(crv="P-192")], "not a private key"),
    ("RSA with some of its numbers", [rs256(p=None)], "not a private key"),
    ("RSA with other primes", [rs256(p="AQAB", q="AQAB")], "not a private key"),
    ("RSA without a modulus", [rs256(n="AA")], "not a private key"),
    ("Ed25519 with too short a key", [{**generate("EdDSA", 1).jwk, "d": "AQAB"}], "not a private key"),
    ("a secret", [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "use": "sig", "nbf": 1}], "not one of"),
    ("a key for encryption", [es256(use="enc")], "the use 'sig'"),
    ("no kid", [es256(kid=None)], "not its RFC 7638 thumbprint"),
    ("another kid", [es256(kid="mine")], "not its RFC 7638 thumbprint"),
    (
        "a key twice",
        [TWICE, generate("EdDSA", 1).jwk, {**TWICE, "nbf": 2}],
        "key 3 has the same kid as another key",
    ),
    ("no beginning", [es256(nbf=None)], "must have nbf"),
    ("a beginning that is no number", [es256(nbf="2026-01-01")], "must have nbf"),
    ("a beginning that is a truth", [es256(nbf=True)], "must have nbf"),
    ("milliseconds", [es256(nbf=1_700_000_000_000)], "in seconds"),
    ("an end of use alone", [es256(exp=2)], "both or neither of exp and published_until"),
    ("an end of publication alone", [es256(published_until=2)], "both or neither of exp and published_until"),
    ("an end before the beginning", [es256(exp=0, published_until=2)], "out of order"),
    ("published shorter than used", [es256(exp=3, published_until=2)], "out of order"),
]


@pytest.mark.parametrize(("content", "said"), [pytest.param(*case[1:], id=case[0]) for case in UNSOUND])
def test_an_unsound_key_is_named_and_not_taken(
    keys: Keys, make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture, content: Any, said: str
) -> None:
    kid = keys.create("ES256")
    site = make_site(token_type="jwt", access_token_algorithm="ES256")
    assert signer(site) == kid
    keys.path.write_text(json.dumps({"keys": content}))

    assert signer(site) == kid
    messages = [message for message in run_checks() if message.id == "oauth_binding.E015"]
    assert len(messages) == 1
    assert said in messages[0].msg
    assert said in caplog.text
    with pytest.raises(CommandError, match="can't be used"):
        keys.run("rotate")
    for jwk in content if isinstance(content, list) else []:
        for name in SECRET_MEMBERS & set(jwk):
            assert str(jwk[name]) not in messages[0].msg + caplog.text or len(str(jwk[name])) < 3


def test_what_the_libraries_say_of_a_key_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    nested: Any = "secret"
    for _level in range(2000):
        nested = [nested]

    with pytest.raises(ValueError, match="not a private key") as caught:
        parse({**es256(kty=None), "x": nested})
    assert caught.value.__cause__ is None
    monkeypatch.setattr(jwt, "PyJWK", mock.Mock(side_effect=UnsupportedAlgorithm("secret")))
    with pytest.raises(ValueError, match="is not a private key for ES256"):
        parse(es256())


# The command


def test_the_list_shows_what_becomes_of_each_key(keys: Keys) -> None:
    now = int(time.time()) // 60 * 60
    over = generate("ES256", now - 600).retire(now - 500, now - 400)
    retired = generate("ES256", now - 500).retire(now - 300, now + 600)
    used, announced, passed_over = (
        generate("ES256", now - 300),
        generate("ES256", now + 600),
        generate("ES256", now - 900),
    )
    keys.write(over, retired, used, announced, passed_over)

    lines = keys.run("list").splitlines()

    assert [line.split()[:3] for line in lines] == [
        [over.kid, "ES256", "over"],
        [retired.kid, "ES256", "retired"],
        [used.kid, "ES256", "used"],
        [announced.kid, "ES256", "announced"],
        [passed_over.kid, "ES256", "retired"],
    ]
    with time_machine.travel(now + 600):
        shown = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f"published until {shown}" in lines[1]
    assert f"used from {shown}" in lines[3]


def test_a_new_key_is_announced_longer_than_the_set_is_cached(
    keys: Keys, settings: Any, make_site: Callable[..., Site]
) -> None:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_JWKS_MAX_AGE_SECONDS": 24 * 60 * 60}
    keys.run("create", "--algorithm", "ES256")
    kid = keys.jwks[0]["kid"]
    site = make_site(token_type="jwt", access_token_algorithm="ES256")

    assert kid in published()
    with later(days=2):
        assert site.token().status == 503
    with later(days=2, minutes=16):
        assert signer(site) == kid


def test_rotating_again_waits_for_the_successor(keys: Keys) -> None:
    keys.create("ES256")
    keys.rotate()
    text = keys.path.read_text()

    assert "nothing to do" in keys.run("rotate")
    assert keys.path.read_text() == text


def test_only_keys_of_an_age_are_rotated(keys: Keys) -> None:
    old = keys.create("ES256")
    keys.run("rotate", "--older-than", "90")
    assert [jwk["kid"] for jwk in keys.jwks] == [old]

    with later(days=89, hours=23):
        keys.run("rotate", "--older-than", "90")
        assert len(keys.jwks) == 1
    with later(days=90, minutes=1):
        keys.run("rotate", "--older-than", "90")
        assert len(keys.jwks) == 2
    with later(days=91):
        keys.run("rotate", "--older-than", "90")
        assert [jwk["kid"] for jwk in keys.jwks] != [old]
        assert len(keys.jwks) == 1


def test_one_algorithm_can_be_rotated_alone(keys: Keys) -> None:
    for algorithm in ALGORITHMS:
        keys.create(algorithm)

    keys.rotate("--algorithm", "EdDSA")
    assert sorted(jwk["alg"] for jwk in keys.jwks) == ["ES256", "EdDSA", "EdDSA", "RS256"]
    keys.rotate()
    assert sorted(jwk["alg"] for jwk in keys.jwks) == sorted([*ALGORITHMS, *ALGORITHMS])


def test_a_key_whose_end_is_set_gets_no_successor_but_by_create(keys: Keys) -> None:
    now = int(time.time())
    keys.write(generate("ES256", now - 60).retire(now + 600, now + 1200))

    assert "nothing to do" in keys.run("rotate")
    keys.create("ES256", announce_for=5)

    assert len(keys.jwks) == 2


def test_an_old_key_is_published_as_long_as_its_tokens_live(keys: Keys, settings: Any) -> None:
    keys.create("ES256")
    extra = {**settings.OAUTH2_PROVIDER, "EXTRA_SERVER_KWARGS": {"token_expires_in": 2 * 24 * 60 * 60}}

    settings.OAUTH2_PROVIDER = extra
    keys.run("rotate", "--announce-for", "0")
    jwk = keys.jwks[0]
    assert jwk["published_until"] - jwk["exp"] > 2 * 24 * 60 * 60

    extra["EXTRA_SERVER_KWARGS"] = {"token_expires_in": lambda request: 60}
    settings.OAUTH2_PROVIDER = {**extra}
    with pytest.raises(CommandError, match="--publish-for"):
        keys.run("rotate", "--announce-for", "0")
    keys.run("rotate", "--announce-for", "0", "--publish-for", "90")
    jwk = keys.jwks[1]
    assert jwk["published_until"] - jwk["exp"] == 90 * 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--algorithm", "ES256"], "already"),
        (["create"], "--algorithm"),
        (["create", "--algorithm", "HS256"], "HS256"),
        (["create", "--algorithm", "EdDSA", "--announce-for", "-1"], "0 or more"),
        (["rotate", "--older-than", "soon"], "older-than"),
        ([], "list|create|rotate"),
    ],
)
def test_what_the_command_can_not_do_changes_nothing(keys: Keys, arguments: list[str], said: str) -> None:
    keys.create("ES256")
    text = keys.path.read_text()

    with pytest.raises(CommandError, match=said.replace("|", r"\|")):
        keys.run(*arguments)
    assert keys.path.read_text() == text


def test_without_a_file_there_is_nothing_to_list_or_rotate(keys: Keys, settings: Any) -> None:
    for action in ("list", "rotate"):
        with pytest.raises(CommandError, match="No such file"):
            keys.run(action)
    settings.OAUTH_BINDING = {"SIGNING_KEYS": keys.path.parent / "no" / "keys.json"}
    with pytest.raises(CommandError, match="No such file"):
        keys.create("ES256")
    settings.OAUTH_BINDING = {}
    with pytest.raises(CommandError, match="SIGNING_KEYS"):
        keys.run("list")


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(os.name != "posix", reason="file modes")
class TestFile:
    @pytest.fixture(autouse=True)
    def _umask(self) -> Iterator[None]:
        before = os.umask(0)
        yield
        os.umask(before)

    def test_it_is_its_owners_alone(self, keys: Keys) -> None:
        keys.create("ES256")

        assert {mode_of(path) for path in keys.path.parent.iterdir()} == {0o600}

    def test_it_keeps_its_mode_and_owner(self, keys: Keys) -> None:
        keys.create("ES256")
        keys.path.chmod(0o640)
        if os.getuid() == 0:
            os.chown(keys.path, 1234, 5678)

        keys.rotate()

        status = keys.path.stat()
        assert mode_of(keys.path) == 0o640
        if os.getuid() == 0:
            assert (status.st_uid, status.st_gid) == (1234, 5678)

    def test_a_link_to_it_stays_one(self, keys: Keys) -> None:
        real = keys.path.with_name("real.json")
        keys.path.symlink_to(real)

        keys.create("ES256")

        assert keys.path.is_symlink()
        assert json.loads(real.read_text())["keys"]

    def test_a_failure_leaves_it_as_it_was(self, keys: Keys) -> None:
        keys.create("ES256")
        before = {path.name: path.read_text() for path in keys.path.parent.iterdir()}

        with (
            mock.patch("os.fsync", side_effect=OSError("No space left on device")),
            pytest.raises(CommandError, match="No space left"),
        ):
            keys.rotate()

        assert {path.name: path.read_text() for path in keys.path.parent.iterdir()} == before


@pytest.mark.slow
def test_of_rotations_at_once_one_announces_a_successor(keys: Keys, tmp_path: Path) -> None:
    keys.create("ES256")
    keys.create("RS256")
    settings_module = tmp_path / "rotating_settings.py"
    settings_module.write_text(
        f"from tests.settings import *\nOAUTH_BINDING = {{'SIGNING_KEYS': {str(keys.path)!r}}}\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "rotating_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }

    command = [sys.executable, "manage.py", "signingkeys", "rotate"]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _process in range(4)
    ]
    outputs = [process.communicate()[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert sum("announced" in output for output in outputs) == 1
    assert sorted(jwk["alg"] for jwk in keys.jwks) == ["ES256", "ES256", "RS256", "RS256"]


# Secrets


def test_nothing_secret_leaves_the_file(
    keys: Keys, settings: Any, make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for algorithm in ALGORITHMS:
        keys.create(algorithm)
    keys.rotate()
    keys.run("list")
    with pytest.raises(CommandError) as error:
        keys.run("create", "--algorithm", "ES256")
    for algorithm in ALGORITHMS:
        signer(make_site(token_type="jwt", access_token_algorithm=algorithm))
    secrets = [jwk[name] for jwk in keys.jwks for name in SECRET_MEMBERS & jwk.keys()]
    jwk_set = Client().get(JWKS).content.decode()
    text = keys.path.read_text()
    keys.path.write_text(text[:-5])
    published()
    objects = [parse(jwk) for jwk in json.loads(text)["keys"]]
    seen = [keys.printed, str(error.value), jwk_set, caplog.text, repr(objects), str(run_checks())]

    assert len(secrets) == 2 + 2 + 2 * 6
    assert [secret for secret in secrets if any(secret in output for output in seen)] == []
    for jwk in json.loads(jwk_set)["keys"]:
        assert jwk.keys() <= {"kty", "alg", "kid", "use", "n", "e", "crv", "x", "y"}


# The admin


class TestAdmin:
    @pytest.fixture
    def operator(self, db: None) -> Client:
        client = Client()
        client.force_login(User.objects.create_superuser("operator", password="password"))
        return client

    def save(self, operator: Client, algorithm: str, token_type: str = "jwt") -> Any:
        form = {
            "name": "Mobile app",
            "client_id": "mobile",
            "client_secret": "a-secret-of-some-length",
            "client_type": "confidential",
            "allowed_grant_types": ["client-credentials"],
            "token_type": token_type,
            "token_binding_type": "none",
            "access_token_algorithm": algorithm,
            **policy(),
        }
        return operator.post("/admin/oauth2_provider/application/add/", form)

    def errors(self, page: Any) -> dict[str, list[str]]:
        assert page.status_code == 200
        return dict(page.context["adminform"].form.errors)

    def test_an_algorithm_is_chosen_per_application(self, keys: Keys, operator: Client) -> None:
        keys.create("EdDSA")

        assert self.save(operator, "EdDSA").status_code == 302

        application = Application.objects.get(client_id="mobile")
        assert application.access_token_algorithm == "EdDSA"
        page = operator.get(f"/admin/oauth2_provider/application/{application.pk}/change/")
        sections = {str(title): options["fields"] for title, options in page.context["adminform"].fieldsets}
        assert "access_token_algorithm" in sections["Access token"]
        assert '<option value="">The site&#x27;s default</option>' in page.content.decode()

    @pytest.mark.parametrize("announce_for", [None, 60])
    def test_one_without_a_key_in_use_is_refused_at_its_field(
        self, keys: Keys, operator: Client, announce_for: int | None
    ) -> None:
        keys.create("EdDSA")
        if announce_for:
            keys.create("ES256", announce_for)

        errors = self.errors(self.save(operator, "ES256"))

        assert list(errors) == ["access_token_algorithm"]
        assert "no ES256 key" in errors["access_token_algorithm"][0]
        assert self.save(operator, "ES256", token_type="opaque").status_code == 302

    def test_a_default_without_a_key_is_refused_at_the_token_type(
        self, keys: Keys, settings: Any, operator: Client
    ) -> None:
        keys.create("EdDSA")
        prefer(settings, "ES256")

        errors = self.errors(self.save(operator, ""))

        assert list(errors) == ["token_type"]
        assert "no ES256 key" in errors["token_type"][0]
        assert self.save(operator, "EdDSA").status_code == 302

    def test_an_unknown_one_is_refused(self, keys: Keys, operator: Client) -> None:
        keys.create("EdDSA")

        assert list(self.errors(self.save(operator, "HS256"))) == ["access_token_algorithm"]
