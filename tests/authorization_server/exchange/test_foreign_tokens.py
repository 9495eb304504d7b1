"""Token exchange (RFC 8693) of JWTs that another server has issued, whose keys are fetched over HTTP."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest import mock

import jwt
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import override_settings
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.exchange import foreign_tokens as issuers
from oauth_binding.core.jose import jwk_sets, remote_document
from oauth_binding.core.toolkit_paths import jwk_from_pem
from oauth_binding.models import TokenBinding, TokenExchange, TokenExchangeRule
from tests.helpers.client import PASSWORD, Answer, Site
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row
from tests.helpers.servers import FAILURES, KEYS, OTHER_KEY, RSA_KEY, SHORT_KEY, jwk, send, serve

ISSUER = "https://idp.example"
AUDIENCE = "https://site.example"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@dataclass
class KeyServer:
    """A server that publishes a JWK set, or does worse."""

    keys: list[Any] = field(default_factory=lambda: [jwk(RSA_KEY)])
    requests: int = 0
    #: What to do in place of answering with the keys.
    respond: Callable[[BaseHTTPRequestHandler], None] | None = None
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.respond is not None:
            self.respond(handler)
        else:
            send(handler, json.dumps({"keys": self.keys}).encode())


@pytest.fixture
def make_server() -> Iterator[Callable[[], KeyServer]]:
    with ExitStack() as running:

        def make() -> KeyServer:
            keys = KeyServer()
            keys.url = f"{running.enter_context(serve(keys.answer))}/jwks.json"
            return keys

        yield make


@pytest.fixture
def server(make_server: Callable[[], KeyServer]) -> KeyServer:
    return make_server()


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwk_sets, "_remote", {})


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that puts the clock of the cache forward."""
    passed = 0.0

    def later(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(remote_document, "now", lambda: time.monotonic() + passed)
    return later


@pytest.fixture
def configure(server: KeyServer, settings: Any) -> Callable[..., None]:
    """Return a function that sets the options of the issuer; None takes a default one out."""

    def set_options(**options: Any) -> None:
        merged = {"JWKS_URL": server.url, "AUDIENCE": AUDIENCE, **options}
        given = {name: value for name, value in merged.items() if value is not None}
        settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_ISSUERS": {ISSUER: given}}

    set_options()
    return set_options


@pytest.fixture
def backend(make_backend: Callable[..., Site]) -> Site:
    return make_backend()


@pytest.fixture
def make_backend(make_site: Callable[..., Site], configure: Callable[..., None]) -> Callable[..., Site]:
    """Return a factory of applications that may exchange the issuer's tokens."""

    def make(token_type: str = "opaque", **rule: Any) -> Site:
        site = make_site(
            "client_credentials",
            as_user=None,
            token_type=token_type,
            additional_grant_types="token-exchange",
        )
        rule = {"impersonation": True, **rule}
        TokenExchangeRule.objects.create(client=site.application, subject_issuer=ISSUER, **rule)
        return site

    return make


def token(
    key: Any = RSA_KEY, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Return a token of the issuer; None takes a claim or header out."""
    now = int(time.time())
    merged = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 600,
        "scope": "read write",
        **claims,
    }
    merged_headers = {"kid": "one", "typ": "at+jwt", **(headers or {})}
    return jwt.encode(
        {name: value for name, value in merged.items() if value is not None},
        key,
        algorithm=algorithm,
        headers={name: value for name, value in merged_headers.items() if value is not None or name == "typ"},
    )


def exchange(client: Site, subject_token: str, **extra: Any) -> Answer:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": subject_token,
        "subject_token_type": JWT,
        **extra,
    }
    return client.post("/oauth2/token/", form)


def assert_not_valid(answer: Answer) -> None:
    assert (answer.status, answer.data) == (
        400,
        {"error": "invalid_grant", "error_description": "The subject_token is not valid."},
    )


def encoded(part: Any) -> str:
    return base64url(json.dumps(part).encode())


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TestExchanging:
    @pytest.mark.parametrize("algorithm", KEYS)
    @pytest.mark.parametrize("says_algorithm", [True, False])
    def test_a_token_is_exchanged(
        self,
        backend: Site,
        server: KeyServer,
        configure: Callable[..., None],
        algorithm: str,
        says_algorithm: bool,
    ) -> None:
        key = KEYS[algorithm]
        members = {"alg": algorithm, "use": "sig"} if says_algorithm else {}
        server.keys = [jwk(key, algorithm, **members)]
        configure(ALGORITHMS=[algorithm])

        answer = exchange(backend, token(key, algorithm))

        assert answer.status == 200, answer.data
        assert answer["issued_token_type"] == ACCESS_TOKEN
        assert answer["scope"] == "read write"
        assert backend.introspect(answer.access)["username"] == "alice"
        assert backend.api(answer.access) == 200

    def test_keys_in_the_settings_need_no_server(
        self, backend: Site, server: KeyServer, configure: Callable[..., None]
    ) -> None:
        configure(JWKS_URL=None, KEYS={"keys": [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]})

        assert exchange(backend, token()).status == 200
        assert exchange(backend, token(OTHER_KEY, headers={"kid": "two"})).status == 200
        assert server.requests == 0

    @pytest.mark.parametrize(
        ("scope", "asked", "granted"),
        [
            ("read", None, "read"),
            ("read write", "write", "write"),
            ("openid read orders", None, "openid read"),
            (None, None, "introspection"),
            ("", None, ""),
        ],
    )
    def test_scopes(
        self,
        backend: Site,
        configure: Callable[..., None],
        scope: str | None,
        asked: str | None,
        granted: str,
    ) -> None:
        configure(SCOPES=["introspection"])

        answer = exchange(backend, token(scope=scope), **({} if asked is None else {"scope": asked}))

        assert answer["scope"] == granted

    def test_scopes_never_widen(self, backend: Site) -> None:
        assert exchange(backend, token(scope="read"), scope="read write")["error"] == "invalid_scope"
        assert exchange(backend, token(scope=None), scope="read")["error"] == "invalid_scope"

    @pytest.mark.parametrize(
        ("types", "typ"),
        [
            (None, "at+jwt"),
            (None, "application/at+jwt"),
            (None, "JWT"),
            (None, "jwt"),
            (["application/token+jwt"], "token+jwt"),
            ([None], None),
            ([""], None),
        ],
    )
    def test_accepted_types(
        self, backend: Site, configure: Callable[..., None], types: list[str] | None, typ: str | None
    ) -> None:
        configure(TYPES=types)

        assert exchange(backend, token(headers={"typ": typ})).status == 200

    @pytest.mark.parametrize("accepted", [AUDIENCE, [AUDIENCE, "other"], ["other", AUDIENCE]])
    @pytest.mark.parametrize("sent", [AUDIENCE, ["someone", AUDIENCE]])
    def test_accepted_audiences(
        self, backend: Site, configure: Callable[..., None], accepted: Any, sent: Any
    ) -> None:
        configure(AUDIENCE=accepted)

        assert exchange(backend, token(aud=sent)).status == 200

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("nbf", "0"),
            ("nbf", "0.5"),
            ("exp", "253402300799"),
            ("exp", "1e11"),
            ("scope", "null"),
            ("act", "null"),
            ("client_id", "1"),
            ("n", "1e300"),
            ("jti", '"1"'),
        ],
    )
    def test_accepted_claims(self, backend: Site, name: str, value: str) -> None:
        assert exchange(backend, claiming(name, value)).status == 200

    def test_fractions_of_a_second(self, backend: Site) -> None:
        now = time.time()

        assert exchange(backend, token(iat=now - 0.5, nbf=now - 0.5, exp=now + 600.5)).status == 200

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_as_many_actors_as_each_database_keeps(
        self, make_backend: Callable[..., Site], token_type: str
    ) -> None:
        backend = make_backend(token_type, delegation=True)
        actor = {"actor_token": backend.token().access, "actor_token_type": ACCESS_TOKEN}
        assert exchange(backend, acted_for(30), **actor).status == 200
        assert exchange(backend, acted_for(31)).status == 200
        before = stored()

        for actors in (32, 100, 400):
            assert "too deeply" in exchange(backend, acted_for(actors))["error_description"]
        assert "too deeply" in exchange(backend, acted_for(31), **actor)["error_description"]
        assert stored() == before

    def test_clocks_may_differ(self, backend: Site) -> None:
        ahead = int(time.time()) + 20

        assert exchange(backend, token(iat=ahead, nbf=ahead)).status == 200

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_the_new_token_lives_no_longer(self, make_backend: Callable[..., Site], token_type: str) -> None:
        expires = int(time.time()) + 100

        answer = exchange(make_backend(token_type), token(exp=expires))

        assert 90 < answer["expires_in"] <= 100
        assert access_token_row(answer.access).expires.timestamp() <= expires

    def test_without_a_kid_the_only_key_is_taken(self, backend: Site, server: KeyServer) -> None:
        server.keys = [jwk(RSA_KEY), jwk(KEYS["ES256"], "ES256", kid="two")]

        assert exchange(backend, token(headers={"kid": None})).status == 200

    def test_who_acts_and_who_may_act(self, make_backend: Callable[..., Site]) -> None:
        backend = make_backend("jwt", delegation=True)
        client_id = backend.application.client_id
        actor = {"actor_token": backend.token().access, "actor_token_type": ACCESS_TOKEN}
        subject = token(act={"sub": "robot"}, may_act={"sub": client_id})
        robot = {"iss": ISSUER, "sub": "robot"}

        assert exchange(backend, subject).claims["act"] == robot
        delegated = exchange(backend, subject, **actor).claims["act"]
        assert delegated == {"sub": client_id, "client_id": client_id, "act": robot}
        refused = exchange(backend, token(may_act={"sub": "somebody"}))
        assert "may act" in refused["error_description"]

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_of_who_acted_elsewhere_no_more_is_said_than_who_it_was(
        self, make_backend: Callable[..., Site], token_type: str
    ) -> None:
        backend = make_backend(token_type)
        ours = backend.application.client_id
        act = {
            "sub": ours,
            "client_id": ours,
            "scope": "admin",
            "exp": 1,
            "x" * 1000: ["y"] * 1000,
            "act": {"iss": "https://third.example", "sub": "robot", "email": "robot@example.com"},
        }

        answer = exchange(backend, token(act=act))

        assert backend.introspect(answer.access)["act"] == {
            "iss": ISSUER,
            "sub": ours,
            "act": {"iss": "https://third.example", "sub": "robot"},
        }

    def test_another_server_names_no_party_of_this_one(self, backend: Site) -> None:
        ours = {"iss": "http://testserver/oauth2", "sub": backend.application.client_id}

        for act in (ours, {"sub": "robot", "act": ours}):
            answer = exchange(backend, token(act=act))
            assert (answer.status, answer["error"]) == (400, "invalid_grant")
            assert "a party of this server" in answer["error_description"]

    def test_who_acts_has_room_in_a_header(self, backend: Site) -> None:
        def long(length: int) -> str:
            return token(act={"sub": "x" * length})

        assert exchange(backend, long(4000)).status == 200
        before = stored()
        assert "too long" in exchange(backend, long(5000))["error_description"]
        assert stored() == before

    def test_a_rule_is_needed(self, backend: Site) -> None:
        TokenExchangeRule.objects.all().delete()

        assert exchange(backend, token())["error"] == "unauthorized_client"

    def test_refreshing_ends_with_the_issuer(self, make_backend: Callable[..., Site], settings: Any) -> None:
        backend = make_backend(refresh_tokens=True)
        answer = exchange(backend, token())

        answer = backend.refresh(answer.refresh)
        settings.OAUTH_BINDING = {}

        assert answer.status == 200
        assert backend.refresh(answer.refresh)["error"] == "invalid_grant"


def at(seconds: float) -> int:
    return int(time.time() + seconds)


def default_claims() -> dict[str, Any]:
    """Return the claims of a token that is fine."""
    claims: dict[str, Any] = jwt.decode(token(), options={"verify_signature": False})
    return claims


def sealed(payload: str, header: str = '{"alg":"RS256","typ":"at+jwt","kid":"one"}') -> str:
    """Return a JWS with a right signature over anything, also what PyJWT does not write."""
    text = f"{base64url(header.encode())}.{base64url(payload.encode())}"
    return f"{text}.{base64url(jwt.get_algorithm_by_name('RS256').sign(text.encode(), RSA_KEY))}"


def signed(**headers: Any) -> str:
    """Return a token with other headers."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "one", **headers}
    return sealed(json.dumps(default_claims()), json.dumps(header))


def claiming(name: str, value: str) -> str:
    """Return a token with a claim whose value is any JSON."""
    claims = {key: claim for key, claim in default_claims().items() if key != name}
    return sealed(f'{json.dumps(claims)[:-1]}, "{name}": {value}}}')


def repeating(name: str) -> str:
    """Return a token that has one of its claims once more, with the same value."""
    claims = default_claims()
    return sealed(f'{json.dumps(claims)[:-1]}, "{name}": {json.dumps(claims[name])}}}')


def acted_for(actors: int) -> str:
    """Return a token with an ``act`` that is nested that deeply."""
    return claiming("act", '{"sub": "robot", "act":' * (actors - 1) + '{"sub": "robot"}' + "}" * (actors - 1))


def of_other_last_character() -> str:
    """Return a token whose signature is spelt otherwise: a bit is set of which no byte is made."""
    text = token()
    assert text[-1] in "AQgw"
    return text[:-1] + chr(ord(text[-1]) + 1)


def hmac_with_public_key() -> str:
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "at+jwt", "kid": "one"}
    signed = f"{encoded(header)}.{encoded(default_claims())}"
    return f"{signed}.{base64url(hmac.digest(pem, signed.encode(), hashlib.sha256))}"


def tampered() -> str:
    header, _claims, signature = token().split(".")
    return f"{header}.{encoded({**default_claims(), 'sub': 'bob'})}.{signature}"


#: what is wrong -> (a token, a word of what is logged)
MISTAKES: dict[str, tuple[Callable[[], str], str]] = {
    "no signature": (lambda: token(None, "none"), "signed JWT"),
    "no signature, but the right alg": (lambda: token().rsplit(".", 1)[0] + ".AAAA", "Signature"),
    "the alg none": (lambda: signed(alg="none"), "alg"),
    "no signature at all": (lambda: token().rsplit(".", 1)[0] + ".", "signed JWT"),
    "HS256 with the public key": (hmac_with_public_key, "alg"),
    "alg of the key, but not accepted": (lambda: token(algorithm="PS256"), "alg"),
    "another key": (lambda: token(OTHER_KEY), "Signature"),
    "tampered": (tampered, "Signature"),
    "embedded key": (lambda: token(OTHER_KEY, headers={"jwk": jwk(OTHER_KEY)}), "Signature"),
    "embedded certificate": (lambda: token(OTHER_KEY, headers={"x5c": ["MII"]}), "Signature"),
    "unknown kid": (lambda: token(headers={"kid": "two"}), "0 keys"),
    "unknown critical header": (lambda: signed(crit=["exp"], exp=1), "critical"),
    "known critical header": (lambda: signed(crit=["b64"], b64=True), "critical"),
    "no critical header": (lambda: signed(crit=[]), "crit"),
    "ID token": (lambda: token(headers={"typ": "id_token+jwt"}), "typ"),
    "logout token": (lambda: token(headers={"typ": "logout+jwt"}), "typ"),
    "no typ": (lambda: token(headers={"typ": None}), "typ"),
    "unknown issuer": (lambda: token(iss="https://evil.example"), "issuer"),
    "almost the issuer": (lambda: token(iss=f"{ISSUER}/"), "issuer"),
    "no issuer": (lambda: token(iss=None), "issuer"),
    "no subject": (lambda: token(sub=None), "sub"),
    "empty subject": (lambda: token(sub=""), "sub is not a string"),
    "no audience": (lambda: token(aud=None), "aud"),
    "another audience": (lambda: token(aud="https://other.example"), "AUDIENCE"),
    "other audiences": (lambda: token(aud=["a", f"{AUDIENCE}/"]), "AUDIENCE"),
    "malformed audience": (lambda: token(aud={"a": AUDIENCE}), "aud is neither"),
    "no expiry": (lambda: token(exp=None), "exp"),
    "expired": (lambda: token(exp=at(-1)), "expired"),
    "expired long ago": (lambda: token(iat=at(-900), exp=at(-300)), "expired"),
    "expiry beyond all time": (lambda: token(exp=10**20), "exp is not a date"),
    "infinite expiry": (lambda: token(exp=float("inf")), "finite"),
    "no time of issue": (lambda: token(iat=None), "iat"),
    "issued in the future": (lambda: token(iat=at(60)), "iat"),
    "too old": (lambda: token(iat=at(-3700)), "MAX_AGE"),
    "not yet valid": (lambda: token(nbf=at(60)), "nbf"),
    "scope as a list": (lambda: token(scope=["read"]), "scope"),
    "NUL in the subject": (lambda: token(sub="alice\x00"), "NUL"),
    "NUL in act": (lambda: token(act={"sub": "\x00"}), "NUL"),
    "half a surrogate pair": (lambda: token(act={"sub": "\ud83d"}), "surrogate"),
    "NaN": (lambda: token(act={"sub": float("nan")}), "finite"),
    "unknown user": (lambda: token(sub="bob"), "no user"),
    "user of other case": (lambda: token(sub="Alice"), "no user"),
    "claims that are a list": (lambda: f"{encoded({'alg': 'RS256'})}.{encoded([])}.AAAA", "object"),
    "deep claims": (lambda: f"{encoded({'alg': 'RS256'})}.{deep()}.AAAA", "recursion"),
    "encrypted": (lambda: f"{encoded({'alg': 'RSA-OAEP', 'enc': 'A128GCM'})}.a.b.c.d", "signed JWT"),
    "no JWT": (lambda: "junk", "signed JWT"),
    "kid that is no text": (lambda: signed(kid=1), "kid"),
    "kid that is null": (lambda: signed(kid=None), "kid"),
    "kid that is a list": (lambda: signed(kid=["one"]), "kid"),
    "typ that is no text": (lambda: signed(typ=["at+jwt"]), "typ"),
    "alg that is no text": (lambda: signed(alg=["RS256"]), "alg"),
    "jti that is no text": (lambda: claiming("jti", "1"), "jti"),
    # What could be read in two ways.
    "header twice": (
        lambda: sealed(
            json.dumps(default_claims()), '{"alg":"RS256","typ":"at+jwt","kid":"one","kid":"one"}'
        ),
        "a name twice",
    ),
    **{
        f"{name} twice": (functools.partial(repeating, name), "a name twice")
        for name in ("iss", "sub", "exp")
    },
    "name twice further in": (lambda: claiming("act", '{"sub": "a", "sub": "b"}'), "a name twice"),
    "b64 without crit": (lambda: signed(b64=True), "critical"),
    "payload that is not encoded, without crit": (lambda: signed(b64=False), "critical"),
    "payload that is not encoded": (lambda: signed(crit=["b64"], b64=False), "critical"),
    "padded signature": (lambda: f"{token()}==", "signed JWT"),
    "half padded signature": (lambda: f"{token()}=", "signed JWT"),
    "padded payload": (lambda: "{}.{}==.{}".format(*token().split(".")), "signed JWT"),
    "last character that is not canonical": (of_other_last_character, "signed JWT"),
    "space before": (lambda: f" {token()}", "signed JWT"),
    "space after": (lambda: f"{token()} ", "signed JWT"),
    "space in the claims": (lambda: "{}.{} .{}".format(*token().split(".")), "signed JWT"),
    "four parts": (lambda: f"{token()}.", "signed JWT"),
    "five parts": (lambda: f"{token()}.AA.AA", "signed JWT"),
    "two parts": (lambda: token().rsplit(".", 1)[0], "signed JWT"),
    **{
        f"claims that are {payload or 'empty'}": (functools.partial(sealed, payload), word)
        for payload, word in (
            ("[]", "object"),
            ("null", "object"),
            ('"sub"', "object"),
            ("1", "object"),
            ("{", "JSON"),
            ("{} {}", "JSON"),
            ("\ufeff{}", "JSON"),
            ("", "signed JWT"),
        )
    },
    # Dates are numbers (RFC 7519 section 2).
    **{
        f"{name} that is {value[:12]}": (functools.partial(claiming, name, value), word)
        for name in ("exp", "iat", "nbf")
        for value, word in (
            ("true", "not a date"),
            ("false", "not a date"),
            ("null", name),
            ('"9999999999"', "not a date"),
            ('"0"', "not a date"),
            ("[1]", "not a date"),
            ("{}", "not a date"),
            ("-1", "not a date"),
            ("1e300", "not a date"),
            ("253402300800", "not a date"),
            (f"1{'0' * 400}", "not a date"),
            ("9" * 5000, "ValueError"),
            ("1e400", "finite"),
            ("NaN", "finite"),
            ("-Infinity", "finite"),
        )
    },
    "actors without end": (lambda: acted_for(20_000), "recursion"),
    **{
        f"actor {act}": (functools.partial(claiming, "act", act), "act")
        for act in ('"robot"', "1", "[]", "true", "{}", '{"iss": "a"}', '{"sub": 1}', '{"sub": null}')
    },
    **{
        f"earlier actor {act}": (
            functools.partial(claiming, "act", f'{{"sub": "robot", "act": {act}}}'),
            "act",
        )
        for act in ('"robot"', "[]", "{}", '{"sub": ["a"]}')
    },
    "actor of an issuer that is no text": (lambda: token(act={"iss": 1, "sub": "robot"}), "iss"),
}


def deep() -> str:
    return base64url(b'{"a":' * 100_000)


def stored() -> list[int]:
    """Return how many rows there are of what a token exchange writes."""
    models: list[Any] = [get_access_token_model(), get_refresh_token_model(), TokenBinding, TokenExchange]
    return [model.objects.count() for model in [*models, User]]


class TestMistakes:
    @pytest.mark.parametrize("what", MISTAKES)
    def test_a_token_that_is_no_good(
        self, backend: Site, caplog: pytest.LogCaptureFixture, what: str
    ) -> None:
        make, word = MISTAKES[what]
        caplog.set_level("INFO", "oauth_binding.authorization_server.exchange.foreign_tokens")
        text, before = make(), stored()

        assert_not_valid(exchange(backend, text))

        assert stored() == before
        assert word in caplog.text
        assert text not in caplog.text
        assert "Traceback" not in caplog.text

    @pytest.mark.parametrize("character", ["\n", "\r\n", "\t", "\x00"])
    @pytest.mark.parametrize("place", [0, 10, -10, None])
    def test_control_characters_in_a_token(self, backend: Site, character: str, place: int | None) -> None:
        text, before = token(), stored()
        place = len(text) if place is None else place

        assert_not_valid(exchange(backend, f"{text[:place]}{character}{text[place:]}"))

        assert stored() == before

    def test_a_curve_is_that_of_the_algorithm(
        self, backend: Site, configure: Callable[..., None], server: KeyServer
    ) -> None:
        """ES256 is for keys on P-256 (RFC 7518 section 3.4)."""
        configure(ALGORITHMS=["ES256", "ES384"])
        key = KEYS["ES384"]
        server.keys = [jwk(key, "ES384")]
        text = f"{encoded({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'one'})}.{encoded(default_claims())}"
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))

        assert_not_valid(exchange(backend, f"{text}.{base64url(r.to_bytes(48) + s.to_bytes(48))}"))
        assert exchange(backend, token(key, "ES384")).status == 200

    def test_a_key_of_a_kind_that_the_library_lacks(
        self, backend: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jwt, "PyJWK", mock.Mock(side_effect=UnsupportedAlgorithm("no such curve")))

        assert_not_valid(exchange(backend, token()))

    @pytest.mark.parametrize("header", ["jku", "x5u"])
    def test_no_address_in_a_token_is_asked(
        self, backend: Site, make_server: Callable[[], KeyServer], header: str
    ) -> None:
        evil = make_server()
        evil.keys = [jwk(OTHER_KEY)]

        assert_not_valid(exchange(backend, token(OTHER_KEY, headers={header: evil.url})))
        assert_not_valid(exchange(backend, token(OTHER_KEY, headers={header: evil.url, "kid": "evil"})))
        assert evil.requests == 0

    def test_leeway_and_age_are_options(self, backend: Site, configure: Callable[..., None]) -> None:
        configure(LEEWAY=0, MAX_AGE=10)

        assert_not_valid(exchange(backend, token(iat=at(5))))
        assert_not_valid(exchange(backend, token(nbf=at(5))))
        assert_not_valid(exchange(backend, token(iat=at(-12))))
        assert exchange(backend, token(iat=at(-5))).status == 200

    def test_a_short_key_is_refused(
        self, backend: Site, configure: Callable[..., None], server: KeyServer
    ) -> None:
        server.keys = [jwk(SHORT_KEY)]
        with pytest.warns(jwt.InsecureKeyLengthWarning):
            text = token(SHORT_KEY)

        assert_not_valid(exchange(backend, text))

    @pytest.mark.parametrize(
        "keys",
        [
            [jwk(RSA_KEY, alg="RS512")],
            [jwk(RSA_KEY, use="enc")],
            [{**jwt.get_algorithm_by_name("RS256").to_jwk(RSA_KEY, as_dict=True), "kid": "one"}],
            [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}],
            [jwk(KEYS["ES256"], "ES256")],
            [{**jwk(RSA_KEY), "n": 5}],
            [{**jwk(RSA_KEY), "alg": ["RS256"]}],
            [{"kty": ["RSA"], "kid": "one"}, None, "RSA"],
            [jwk(RSA_KEY), jwk(OTHER_KEY)],
            [jwk(RSA_KEY, kid=None)],
            [],
        ],
        ids=[
            "of another algorithm",
            "for encryption",
            "private",
            "symmetric",
            "of another type",
            "malformed number",
            "malformed algorithm",
            "malformed type",
            "two of a kid",
            "without a kid",
            "none",
        ],
    )
    def test_keys_that_must_not_be_used(self, backend: Site, server: KeyServer, keys: list[Any]) -> None:
        server.keys = keys

        assert_not_valid(exchange(backend, token()))

    def test_without_a_kid_one_of_several_keys_is_not_guessed(self, backend: Site, server: KeyServer) -> None:
        server.keys = [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]

        assert_not_valid(exchange(backend, token(headers={"kid": None})))

    def test_only_a_jwt_as_a_subject(self, make_backend: Callable[..., Site]) -> None:
        backend = make_backend(delegation=True)

        assert_not_valid(exchange(backend, token(), subject_token_type=ACCESS_TOKEN))
        answer = exchange(backend, token(), actor_token=token(), actor_token_type=JWT)
        assert answer["error_description"] == "The actor_token is not valid."

    def test_only_a_configured_issuer(self, backend: Site, server: KeyServer) -> None:
        with override_settings(OAUTH_BINDING={}):
            assert_not_valid(exchange(backend, token()))
        assert server.requests == 0

    def test_one_issuer_does_not_speak_for_another(
        self, backend: Site, server: KeyServer, settings: Any
    ) -> None:
        ours = {"KEYS": {"keys": [jwk(RSA_KEY)]}, "AUDIENCE": AUDIENCE}
        other = {"KEYS": {"keys": [jwk(OTHER_KEY)]}, "AUDIENCE": AUDIENCE}
        settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_ISSUERS": {ISSUER: ours, "https://other.example": other}}

        assert_not_valid(exchange(backend, token(OTHER_KEY)))
        assert exchange(backend, token()).status == 200

    @pytest.mark.parametrize(
        "options", [{"AUDIENCE": None}, {"ALGORITHMS": ["HS256"]}, {"NAME": "x"}, {"LEEWAY": -1}]
    )
    def test_a_misconfigured_issuer_is_none(
        self, backend: Site, configure: Callable[..., None], options: dict[str, Any]
    ) -> None:
        configure(**options)

        assert_not_valid(exchange(backend, token()))

    @pytest.mark.parametrize("is_active_key", [True, False])
    def test_a_token_of_this_server_is_not_one_of_another(
        self, backend: Site, settings: Any, make_bound: Callable[..., Site], is_active_key: bool
    ) -> None:
        """Even where this server is configured as an issuer, under a host name of its own perhaps."""
        mobile = make_bound("jwt")
        answer = mobile.bound("phone")
        pem = site_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]
        settings.OAUTH_BINDING = {
            "TOKEN_EXCHANGE_ISSUERS": {
                answer.claims["iss"]: {
                    "KEYS": {"keys": [jwk_from_pem(pem).export_public(as_dict=True)]},
                    "AUDIENCE": answer.claims["aud"],
                    "USER_FIELD": "id",
                }
            }
        }
        TokenExchangeRule.objects.update(subject_issuer=answer.claims["iss"])
        mobile.revoke(answer.access)

        if is_active_key:
            assert_not_valid(exchange(backend, answer.access))
        else:
            new = jwk_pem(OTHER_KEY)
            with provider(OIDC_RSA_PRIVATE_KEY=new, OIDC_RSA_PRIVATE_KEYS_INACTIVE=[pem]):
                assert_not_valid(exchange(backend, answer.access))
            with provider(OIDC_RSA_PRIVATE_KEY=new):
                assert exchange(backend, answer.access).status == 200  # no key of this server any more

    @pytest.mark.parametrize("kind", ["junk", "another kind", "an unknown kind"])
    def test_where_the_keys_of_this_server_can_not_be_told_no_token_is_valid(
        self, backend: Site, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        caplog.set_level("INFO", "oauth_binding")
        unknown = KEYS["EdDSA"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        unknown = unknown.replace(bytes.fromhex("2b6570"), bytes.fromhex("2b6573"))
        pem = {
            "junk": "junk",
            "another kind": jwk_pem(dsa.generate_private_key(1024)),
            "an unknown kind": f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(unknown).decode()}\n"
            "-----END PRIVATE KEY-----\n",
        }[kind]

        with provider(OIDC_RSA_PRIVATE_KEYS_INACTIVE=[pem]):
            assert_not_valid(exchange(backend, token()))
        assert "own keys can't be read" in caplog.text
        assert pem not in caplog.text


def jwk_pem(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


class TestUsers:
    def test_a_disabled_user(self, backend: Site) -> None:
        User.objects.update(is_active=False)

        assert_not_valid(exchange(backend, token()))

    def test_claim_and_field_are_options(self, backend: Site, configure: Callable[..., None]) -> None:
        configure(USER_CLAIM="email", USER_FIELD="email")

        answer = exchange(backend, token(sub="42", email="alice@example.com"))

        assert backend.introspect(answer.access)["username"] == "alice"
        assert_not_valid(exchange(backend, token(sub="", email="alice@example.com")))
        assert_not_valid(exchange(backend, token(email="bob@example.com")))
        assert_not_valid(exchange(backend, token(email=["alice@example.com"])))
        assert_not_valid(exchange(backend, token()))

    @pytest.mark.parametrize("value", ["junk", "9" * 40, " 1", "1.0", "٣"])
    def test_a_value_that_the_field_can_not_have(
        self, backend: Site, configure: Callable[..., None], value: str
    ) -> None:
        configure(USER_FIELD="id")
        user = User.objects.get(username="alice")

        assert_not_valid(exchange(backend, token(sub=value)))
        assert exchange(backend, token(sub=str(user.pk))).status == 200

    def test_several_users_with_a_value(self, backend: Site, configure: Callable[..., None]) -> None:
        configure(USER_FIELD="email")
        User.objects.create_user("bob", "alice@example.com")

        assert_not_valid(exchange(backend, token(sub="alice@example.com")))

    def test_a_user_is_created_where_that_is_set(self, backend: Site, configure: Callable[..., None]) -> None:
        assert_not_valid(exchange(backend, token(sub="bob")))
        assert not User.objects.filter(username="bob").exists()
        configure(CREATE_USERS=True)

        for _ in range(2):
            answer = exchange(backend, token(sub="bob"))
            assert backend.introspect(answer.access)["username"] == "bob"

        bob = User.objects.get(username="bob")
        assert not bob.has_usable_password()
        assert (bob.is_staff, bob.is_superuser) == (False, False)

    @pytest.mark.parametrize("what", ["token", "rule", "scope", "audience", "delegation", "may_act"])
    def test_no_user_is_created_for_a_refused_request(
        self, backend: Site, configure: Callable[..., None], what: str
    ) -> None:
        configure(CREATE_USERS=True)
        claims: dict[str, Any] = {
            "token": {"exp": at(-1)},
            "may_act": {"may_act": {"sub": "somebody"}},
        }
        extra = {"scope": {"scope": "nonsense"}, "audience": {"audience": "https://evil.example"}}
        if what == "rule":
            TokenExchangeRule.objects.all().delete()
        elif what == "delegation":
            TokenExchangeRule.objects.update(impersonation=False, delegation=True)

        answer = exchange(backend, token(sub="bob", **claims.get(what, {})), **extra.get(what, {}))

        assert answer.status == 400
        assert not User.objects.filter(username="bob").exists()

    @pytest.mark.parametrize("name", ["x" * 151, "a b", "a\nb", "<b>"])
    def test_a_name_that_no_user_may_have(
        self, backend: Site, configure: Callable[..., None], name: str
    ) -> None:
        configure(CREATE_USERS=True)

        assert_not_valid(exchange(backend, token(sub=name)))
        assert User.objects.count() == 1

    @pytest.mark.parametrize("is_active", [True, False])
    def test_another_request_creates_the_user_first(
        self,
        backend: Site,
        configure: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        is_active: bool,
    ) -> None:
        configure(CREATE_USERS=True)
        save = issuers.save_user

        def overtaken(user: Any) -> Any:
            User.objects.create_user("bob", password=PASSWORD, is_active=is_active)
            return save(user)

        monkeypatch.setattr(issuers, "save_user", overtaken)

        answer = exchange(backend, token(sub="bob"))

        assert User.objects.filter(username="bob").count() == 1
        if is_active:
            assert backend.introspect(answer.access)["username"] == "bob"
        else:
            assert_not_valid(answer)


class TestKeySets:
    def test_a_set_is_fetched_once_in_five_minutes(
        self, backend: Site, server: KeyServer, pass_time: Callable[[float], None]
    ) -> None:
        for seconds, requests in ((0, 1), (1, 1), (290, 1), (10, 2), (1, 2)):
            pass_time(seconds)
            assert exchange(backend, token()).status == 200
            assert server.requests == requests

    def test_a_new_key_is_fetched_at_once(
        self, backend: Site, server: KeyServer, pass_time: Callable[[float], None]
    ) -> None:
        exchange(backend, token())
        pass_time(11)
        server.keys = [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]

        for _ in range(3):
            assert exchange(backend, token(OTHER_KEY, headers={"kid": "two"})).status == 200
        assert exchange(backend, token()).status == 200
        assert server.requests == 2

    def test_a_key_that_is_gone_is_gone(
        self, backend: Site, server: KeyServer, pass_time: Callable[[float], None]
    ) -> None:
        exchange(backend, token())
        server.keys = [jwk(OTHER_KEY, kid="two")]
        pass_time(301)

        assert_not_valid(exchange(backend, token()))

    def test_unknown_keys_are_asked_for_once_in_ten_seconds(
        self, backend: Site, server: KeyServer, pass_time: Callable[[float], None]
    ) -> None:
        for requests in (1, 2, 3):
            for kid in ("a", "b", "c"):
                assert_not_valid(exchange(backend, token(headers={"kid": kid})))
            assert server.requests == requests
            pass_time(11)

    @pytest.mark.parametrize("failure", FAILURES)
    def test_a_set_that_can_not_be_had(
        self,
        backend: Site,
        server: KeyServer,
        pass_time: Callable[[float], None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        monkeypatch.setattr(remote_document, "TIMEOUT", 0.2)
        server.respond = failure
        started = time.monotonic()

        # It is not asked again at once.
        assert_not_valid(exchange(backend, token()))
        assert_not_valid(exchange(backend, token()))
        assert server.requests == 1
        assert time.monotonic() - started < 3
        assert "can't be fetched" in caplog.text

        server.respond = None
        pass_time(11)
        assert exchange(backend, token()).status == 200

    @pytest.mark.parametrize("failure", FAILURES)
    def test_an_outage_is_bridged(
        self,
        backend: Site,
        server: KeyServer,
        pass_time: Callable[[float], None],
        monkeypatch: pytest.MonkeyPatch,
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        monkeypatch.setattr(remote_document, "TIMEOUT", 0.2)
        exchange(backend, token())
        server.respond = failure
        pass_time(301)

        for _ in range(3):
            assert exchange(backend, token()).status == 200
        assert server.requests == 2

        server.respond = None
        pass_time(11)
        assert exchange(backend, token()).status == 200
        assert server.requests == 3

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(
        self, backend: Site, server: KeyServer, make_server: Callable[[], KeyServer], status: int
    ) -> None:
        target = make_server()
        server.respond = lambda handler: send(handler, b"", status, Location=target.url)

        assert_not_valid(exchange(backend, token()))
        assert target.requests == 0

    def test_a_server_that_is_not_there(self, backend: Site, configure: Callable[..., None]) -> None:
        configure(JWKS_URL="http://127.0.0.1:9/jwks.json")

        assert_not_valid(exchange(backend, token()))

    def test_one_request_fetches_for_all(
        self, server: KeyServer, configure: Callable[..., None], pass_time: Callable[[float], None]
    ) -> None:
        def answer_slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.2)
            send(handler, json.dumps({"keys": server.keys}).encode())

        def verify_many(text: str) -> list[bool]:
            # Below HTTP: a test has one database connection.
            with ThreadPoolExecutor(8) as pool:
                return [found is not None for found in pool.map(issuers.verify, [text] * 8)]

        server.respond = answer_slowly
        assert verify_many(token()) == [True] * 8
        assert server.requests == 1

        server.keys = [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]
        pass_time(11)
        assert verify_many(token(OTHER_KEY, headers={"kid": "two"})) == [True] * 8
        assert server.requests == 2

    def test_nobody_waits_for_a_set_that_is_there(
        self, server: KeyServer, configure: Callable[..., None], pass_time: Callable[[float], None]
    ) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def answer_late(handler: BaseHTTPRequestHandler) -> None:
            asked.set()
            go_on.wait(5)
            send(handler, json.dumps({"keys": server.keys}).encode())

        issuers.verify(token())
        server.respond = answer_late
        pass_time(301)
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(issuers.verify, token())
            try:
                assert asked.wait(5)
                assert issuers.verify(token()) is not None
                assert not fetching.done()
            finally:
                go_on.set()
            assert fetching.result() is not None


def test_a_rule_names_a_configured_issuer(backend: Site) -> None:
    TokenExchangeRule.objects.all().delete()
    rule = TokenExchangeRule(client=backend.application, subject_issuer=ISSUER, impersonation=True)

    rule.full_clean()
    rule.subject_issuer = "https://other.example"
    with pytest.raises(ValidationError, match="TOKEN_EXCHANGE_ISSUERS") as caught:
        rule.full_clean()
    assert list(caught.value.message_dict) == ["subject_issuer"]


def test_there_is_one_rule_for_an_issuer(backend: Site) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        TokenExchangeRule.objects.create(client=backend.application, subject_issuer=ISSUER, delegation=True)

    rule = TokenExchangeRule(client=backend.application, subject_issuer=ISSUER, delegation=True)
    with pytest.raises(ValidationError, match="such a rule already"):
        rule.full_clean()


def test_issuers_differ_by_case(backend: Site) -> None:
    """MariaDB takes them for the same text."""
    TokenExchangeRule.objects.update(subject_issuer=ISSUER.upper())

    answer = exchange(backend, token())

    assert (answer.status, answer["error"]) == (400, "unauthorized_client")
