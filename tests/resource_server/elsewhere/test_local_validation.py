"""JWT access tokens that the API validates on its own (RFC 9068 section 4)."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.resource_server import (
    AUDIENCE,
    EXPIRED,
    ISSUER,
    Api,
    Issuer,
    assert_invalid,
    assert_unavailable,
)
from tests.helpers.servers import FAILURES, KEYS, OTHER_KEY, RSA_KEY, SHORT_KEY, jwk, send
from tests.helpers.signed_tokens import at, base64url, encoded, sign, signed, valid_claims

BOUND: dict[str, Any] = {"binding_type": "client-request", "binding_ref": binding_reference("phone")}


class TestAccepting:
    @pytest.mark.parametrize("algorithm", KEYS)
    @pytest.mark.parametrize("says_algorithm", [True, False])
    def test_a_token(
        self,
        api: Api,
        issuer: Issuer,
        configure: Callable[..., None],
        algorithm: str,
        says_algorithm: bool,
    ) -> None:
        members = {"alg": algorithm, "use": "sig"} if says_algorithm else {}
        issuer.keys = [jwk(KEYS[algorithm], algorithm, **members)]
        configure(ALGORITHMS=[algorithm])

        answer = api.call(issuer.token(KEYS[algorithm], algorithm))

        assert (answer.status, answer.data) == (
            200,
            {"user": "alice", "scope": "read write", "scopes": ["read", "write"], "binding": None},
        )

    def test_a_bound_token(self, api: Api, issuer: Issuer) -> None:
        answer = api.call(issuer.token(**BOUND))

        assert answer.data["binding"] == ["client-request", BOUND["binding_ref"]]

    def test_a_plain_view(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(**BOUND), "/plain/").data == api.call(issuer.token(**BOUND)).data

    @pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/At+Jwt"])
    def test_types(self, api: Api, issuer: Issuer, typ: str) -> None:
        assert api.call(issuer.token(headers={"typ": typ})).status == 200

    @pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE, "other"], ("other", AUDIENCE)])
    @pytest.mark.parametrize("claim", [AUDIENCE, ["someone", AUDIENCE]])
    def test_audiences(
        self, api: Api, issuer: Issuer, configure: Callable[..., None], audience: Any, claim: Any
    ) -> None:
        configure(AUDIENCE=audience)

        assert api.call(issuer.token(aud=claim)).status == 200

    def test_clocks_may_be_apart(self, api: Api, issuer: Issuer) -> None:
        """Also for the permissions, which look at the expiry once more."""
        assert api.call(issuer.token(iat=at(20), nbf=at(20))).status == 200
        assert api.call(issuer.token(exp=at(-20))).status == 200

    def test_fractions_of_a_second(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(iat=time.time() - 0.5, exp=time.time() + 60.5)).status == 200

    def test_claims_that_nobody_knows(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(ext={"x": 1}, roles=["é", {"a": None}], n=1.5)).status == 200

    def test_without_a_kid_the_only_key_of_its_kind(self, api: Api, issuer: Issuer) -> None:
        issuer.keys = [jwk(RSA_KEY), jwk(KEYS["ES256"], "ES256", kid="two")]

        assert api.call(issuer.token(headers={"kid": None})).status == 200

    def test_a_token_of_a_client_has_no_user(self, api: Api, issuer: Issuer) -> None:
        token = issuer.token(sub="mobile")

        assert api.call(token).data["user"] is None
        assert api.call(token, "/for-users/").status in (401, 403)


class TestRefusing:
    @pytest.mark.parametrize("claim", ["iss", "aud", "sub", "client_id", "iat", "exp", "jti"])
    def test_without_a_claim(self, api: Api, issuer: Issuer, claim: str) -> None:
        without: dict[str, Any] = {claim: None}

        assert_invalid(api.call(issuer.token(**without)))

    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://other.example"},
            {"iss": f"{ISSUER}/"},
            {"aud": "https://other.example"},
            {"aud": ["https://other.example"]},
            {"aud": f"{AUDIENCE}/"},
            {"iat": at(3600)},
            {"iat": at(10**6)},
            {"nbf": at(3600)},
            {"scope": ["read"]},
            {"aud": []},
            {"aud": {AUDIENCE: 1}},
            {"aud": [AUDIENCE, 1]},
            {"sub": ""},
            {"sub": "a\0b"},
            {"exp": True},
            {"exp": 10**20},
            {"exp": 10**400},
            {"exp": 1e308},
            {"iat": -1},
            {"nbf": "0"},
            {"nbf": {}},
            {"binding_ref": "x"},
            {"binding_type": "client-request"},
            {"binding_type": "client-request", "binding_ref": ["x"]},
        ],
    )
    def test_claims(self, api: Api, issuer: Issuer, claims: dict[str, Any]) -> None:
        assert_invalid(api.call(issuer.token(**claims)))

    # PyJWT does not sign these, so somebody else has to.
    @pytest.mark.parametrize(
        "payload",
        [
            {"iss": 1},
            {"sub": 1},
            {"jti": 1},
            {"client_id": ["mobile"]},
            {"exp": "9999999999"},
            {"iat": [1]},
            {"iss": ["https://issuer.example"]},
        ],
    )
    def test_claims_of_other_types(self, api: Api, payload: dict[str, Any]) -> None:
        assert_invalid(api.call(signed(json.dumps({**valid_claims(), **payload}))))

    def test_an_expired_token(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call(issuer.token(exp=at(-60))), EXPIRED)
        assert_invalid(api.call(issuer.token(exp=at(-60)), "/plain/"), EXPIRED)

    @pytest.mark.parametrize("typ", ["JWT", "id_token", "at", "at+jwt ", "application/", None, "rt+jwt"])
    def test_types(self, api: Api, issuer: Issuer, typ: str | None) -> None:
        """An ID token, for instance, is no access token (RFC 9068 section 5)."""
        assert_invalid(api.call(issuer.token(headers={"typ": typ})))

    @pytest.mark.parametrize(
        "headers",
        [
            {"crit": ["exp"]},
            {"crit": []},
            {"crit": ["b64"], "b64": True},
            {"crit": ["b64"], "b64": False},
            {"b64": False},
            {"kid": "other"},
            {"kid": ""},
            {"kid": 1},
            {"kid": None},
            {"kid": ["one"]},
            {"typ": 1},
            {"typ": ["at+jwt"]},
            {"alg": ["RS256"]},
            {"alg": {"RS256": 1}},
            {"alg": None},
            {"alg": "RS512"},
            {"alg": "rs256"},
            {"x": "\ud800"},
        ],
    )
    def test_headers(self, api: Api, headers: dict[str, Any]) -> None:
        assert_invalid(api.call(signed(json.dumps(valid_claims()), **headers)))

    @pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", ""])
    def test_without_a_signature(self, api: Api, algorithm: str) -> None:
        header = {"alg": algorithm, "typ": "at+jwt", "kid": "one"}

        assert_invalid(api.call(f"{encoded(header)}.{encoded(valid_claims())}."))
        assert_invalid(api.call(f"{encoded(header)}.{encoded(valid_claims())}.AAAA"))
        assert_invalid(api.call(f"{encoded(header)}.{encoded(valid_claims())}"))

    @pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
    def test_the_public_key_as_a_secret(
        self, api: Api, configure: Callable[..., None], form: PublicFormat
    ) -> None:
        """Also where checks were skipped and HS256 is configured."""
        pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, form)
        secrets = [pem, pem.strip(), json.dumps(jwk(RSA_KEY)).encode()]
        for algorithms in (["RS256"], ["RS256", "HS256"], ["HS256"]):
            configure(ALGORITHMS=algorithms)
            for secret in secrets:
                text = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'one'})}.{encoded(valid_claims())}"
                mac = hmac.digest(secret, text.encode(), hashlib.sha256)
                assert_invalid(api.call(f"{text}.{base64url(mac)}"))

    def test_a_published_secret(self, api: Api, issuer: Issuer, configure: Callable[..., None]) -> None:
        configure(ALGORITHMS=["RS256", "HS256"])
        issuer.keys = [{"kty": "oct", "k": base64url(b"x" * 32), "kid": "one"}, jwk(RSA_KEY, kid="two")]

        assert_invalid(api.call(issuer.token("x" * 32, "HS256")))

    def test_a_wrong_key(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call(issuer.token(OTHER_KEY)))
        assert_invalid(api.call(issuer.token(OTHER_KEY, headers={"jwk": jwk(OTHER_KEY)})))
        assert_invalid(api.call(issuer.token(OTHER_KEY, headers={"jku": "https://evil.example"})))

    def test_a_key_for_something_else(self, api: Api, issuer: Issuer) -> None:
        for members in ({"use": "enc"}, {"alg": "RS512"}, {"alg": "RSA-OAEP"}, {"d": "AQAB"}):
            issuer.keys = [jwk(RSA_KEY, **members), jwk(OTHER_KEY, kid="two")]
            assert_invalid(api.call(issuer.token()))

    @pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
    def test_a_short_key(self, api: Api, issuer: Issuer) -> None:
        issuer.keys = [jwk(SHORT_KEY)]

        assert_invalid(api.call(issuer.token(SHORT_KEY)))

    def test_an_algorithm_that_is_not_configured(self, api: Api, issuer: Issuer) -> None:
        issuer.keys = [jwk(KEYS["ES256"], "ES256")]

        assert_invalid(api.call(issuer.token(KEYS["ES256"], "ES256")))

    def test_a_key_on_another_curve(self, api: Api, issuer: Issuer, configure: Callable[..., None]) -> None:
        """ES256 is for keys on P-256 (RFC 7518 section 3.4)."""
        configure(ALGORITHMS=["ES256"])
        issuer.keys = [jwk(KEYS["ES384"], "ES384")]
        text = f"{encoded({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'one'})}.{encoded(valid_claims())}"
        r, s = decode_dss_signature(KEYS["ES384"].sign(text.encode(), ec.ECDSA(hashes.SHA256())))

        assert_invalid(api.call(f"{text}.{base64url(r.to_bytes(48) + s.to_bytes(48))}"))

    def test_several_keys_without_a_kid(self, api: Api, issuer: Issuer) -> None:
        issuer.keys = [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]

        assert_invalid(api.call(issuer.token(headers={"kid": None})))

    @pytest.mark.parametrize(
        "payload",
        [
            '{"iss": 1, "iss": 2}',
            '{"x": {"y": 1, "y": 1}}',
            '{"x": NaN}',
            '{"x": -Infinity}',
            '{"x": 1e999}',
            '{"x": "\\ud800"}',
            '{"\\udfff": 1}',
            '{"x": "\\u0000"}',
            f'{{"x": {"9" * 5000}}}',
            f'{{"x": {"[" * 5000}',
            "[]",
            "null",
            "1",
            '"text"',
            "",
            "{",
            "{}x",
            "{} {}",
        ],
    )
    def test_payloads(self, api: Api, payload: str) -> None:
        members = json.dumps(valid_claims())[1:-1]
        text = f"{{{members}, {payload[1:]}" if payload.startswith('{"') else payload

        assert_invalid(api.call(signed(text)))

    def test_a_payload_nested_deeper_than_some_versions_of_python_read(self, api: Api) -> None:
        members = json.dumps(valid_claims())[1:-1]

        assert api.call(signed(f'{{{members}, "x": {"[" * 2000}1{"]" * 2000}}}')).status in (200, 401)

    @pytest.mark.parametrize("payload", [b"\xff\xfe{}", b"\xef\xbb\xbf{}", '{"a": "é"}'.encode("utf-16")])
    def test_payloads_that_are_not_utf_8(self, api: Api, payload: bytes) -> None:
        assert_invalid(api.call(signed(payload)))

    def test_headers_that_are_no_json_objects(self, api: Api, issuer: Issuer) -> None:
        _header, payload, signature = issuer.token().split(".")
        for header in (
            '{"alg":"RS256","alg":"RS256","typ":"at+jwt","kid":"one"}',
            '{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"one"}',
            "[]",
            "null",
            '"RS256"',
            "",
            "[" * 5000,
            '{"alg":"RS256","typ":"at+jwt","kid":NaN}',
        ):
            assert_invalid(api.call(f"{base64url(header.encode())}.{payload}.{signature}"))

    def test_a_repeated_header_with_a_right_signature(self, api: Api) -> None:
        text = '{"alg":"RS256","typ":"at+jwt","kid":"one","kid":"one"}'

        assert_invalid(api.call(sign(base64url(text.encode()), json.dumps(valid_claims()).encode())))

    def test_nested_and_encrypted_tokens(self, api: Api, issuer: Issuer) -> None:
        token = issuer.token()

        assert_invalid(api.call(signed(token, cty="JWT")))
        assert_invalid(api.call(".".join([encoded({"alg": "dir", "enc": "A256GCM"}), "", "AA", "AA", "AA"])))
        assert_invalid(api.call(f"{token}.AA.AA"))

    def test_other_spellings_of_base64(self, api: Api, issuer: Issuer) -> None:
        header, payload, signature = issuer.token().split(".")
        # 256 bytes have four unused bits in their last character, and "B" has one of them set.
        assert signature[-1] in "AQgw"
        other = signature[:-1] + chr(ord(signature[-1]) + 1)

        assert_invalid(api.call(f"{header}.{payload}.{other}"))
        assert_invalid(api.call(f"{header}.{payload}.{signature}=="))
        assert_invalid(api.call(f"{header}.{payload}.{signature}="))
        for old, new in (("-", "+"), ("_", "/")):
            if old in signature:
                assert_invalid(api.call(f"{header}.{payload}.{signature.replace(old, new)}"))

    @pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "..", "a.b.c.d", "eyJ.eyJ.eyJ", "A" * 16_384])
    def test_other_texts(self, api: Api, issuer: Issuer, text: str) -> None:
        assert_invalid(api.call(text))
        assert issuer.asked == []  # nothing in them leads to a key

    def test_giant_tokens(self, api: Api, issuer: Issuer) -> None:
        assert api.call(issuer.token(x="x" * 11_000)).status == 200
        assert_invalid(api.call(issuer.token(x="x" * 20_000)))

    def test_the_log_has_the_reason_and_not_the_token(
        self, api: Api, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG", "oauth_binding")
        token = issuer.token(aud="https://other.example", jti="a-secret-jti")

        api.call(token)

        assert "its aud does not have AUDIENCE" in caplog.text
        assert token not in caplog.text
        assert "a-secret-jti" not in caplog.text


class TestKeys:
    def test_a_set_is_fetched_once_in_five_minutes(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None]
    ) -> None:
        for seconds, requests in ((0, 1), (1, 1), (290, 1), (10, 2), (1, 2)):
            pass_time(seconds)
            assert api.call(issuer.token()).status == 200
            assert len(issuer.asked) == requests

    def test_keys_are_rotated(self, api: Api, issuer: Issuer, pass_time: Callable[[float], None]) -> None:
        api.call(issuer.token())
        pass_time(11)
        issuer.keys = [jwk(RSA_KEY), jwk(OTHER_KEY, kid="two")]

        # The new one is fetched at once, the old one stays as long as it is published.
        for _ in range(3):
            assert api.call(issuer.token(OTHER_KEY, headers={"kid": "two"})).status == 200
            assert api.call(issuer.token()).status == 200
        assert len(issuer.asked) == 2

        issuer.keys = [jwk(OTHER_KEY, kid="two")]
        pass_time(301)
        assert_invalid(api.call(issuer.token()))
        assert api.call(issuer.token(OTHER_KEY, headers={"kid": "two"})).status == 200

    def test_another_key_of_the_same_name(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None]
    ) -> None:
        """A key that was parsed before is not the one that is published now."""
        assert api.call(issuer.token()).status == 200
        issuer.keys = [jwk(OTHER_KEY)]
        pass_time(301)

        assert api.call(issuer.token(OTHER_KEY)).status == 200
        assert_invalid(api.call(issuer.token()))

    def test_unknown_keys_are_asked_for_once_in_ten_seconds(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None]
    ) -> None:
        for requests in (1, 2, 3):
            for number in range(20):
                assert_invalid(api.call(issuer.token(headers={"kid": str(number)})))
            assert api.call(issuer.token()).status == 200
            assert len(issuer.asked) == requests
            pass_time(11)

    @pytest.mark.usefixtures("short_timeout")
    @pytest.mark.parametrize("failure", FAILURES)
    def test_keys_that_could_never_be_fetched(
        self,
        api: Api,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        caplog: pytest.LogCaptureFixture,
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        issuer.respond["/jwks"] = failure
        started = time.monotonic()

        # It is not asked again at once.
        assert_unavailable(api.call(issuer.token()))
        assert_unavailable(api.call(issuer.token(), "/plain/"))
        assert (
            api.http.get("/me/", headers={"Authorization": f"Bearer {issuer.token()}"})["Retry-After"] == "10"
        )
        assert len(issuer.asked) == 1
        assert time.monotonic() - started < 3
        assert "can't be fetched" in caplog.text
        # What is no token in any case is still that.
        assert_invalid(api.call("x"))

        issuer.respond.clear()
        pass_time(11)
        assert api.call(issuer.token()).status == 200

    @pytest.mark.usefixtures("short_timeout")
    @pytest.mark.parametrize("failure", FAILURES)
    def test_an_outage_is_bridged(
        self,
        api: Api,
        issuer: Issuer,
        pass_time: Callable[[float], None],
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        api.call(issuer.token())
        issuer.respond["/jwks"] = failure
        pass_time(3600)

        for _ in range(3):
            assert api.call(issuer.token()).status == 200
        assert len(issuer.asked) == 2

        issuer.respond.clear()
        pass_time(11)
        assert api.call(issuer.token()).status == 200
        assert len(issuer.asked) == 3

    def test_redirects_are_not_followed(self, api: Api, issuer: Issuer) -> None:
        issuer.respond["/jwks"] = lambda handler: send(handler, b"", 302, Location=f"{issuer.url}/other")

        assert_unavailable(api.call(issuer.token()))
        assert [asked.path for asked in issuer.asked] == ["/jwks"]

    def test_one_request_fetches_for_all(self, api: Api, issuer: Issuer) -> None:
        def answer_slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.2)
            send(handler, json.dumps({"keys": issuer.keys}).encode())

        issuer.respond["/jwks"] = answer_slowly
        token = issuer.token()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: Api().call(token).status, range(8)))

        assert answers == [200] * 8
        assert len(issuer.asked) == 1

    def test_nobody_waits_for_a_set_that_is_there(
        self, api: Api, issuer: Issuer, pass_time: Callable[[float], None]
    ) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def answer_late(handler: BaseHTTPRequestHandler) -> None:
            asked.set()
            go_on.wait(5)
            send(handler, json.dumps({"keys": issuer.keys}).encode())

        api.call(issuer.token())
        issuer.respond["/jwks"] = answer_late
        pass_time(301)
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(Api().call, issuer.token())
            try:
                assert asked.wait(5)
                assert api.call(issuer.token()).status == 200
                assert not fetching.done()
            finally:
                go_on.set()
            assert fetching.result().status == 200

    def test_a_key_is_parsed_once(self, api: Api, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed = []
        make = jwt.PyJWK

        def parse(*args: Any) -> jwt.PyJWK:
            parsed.append(args)
            return make(*args)

        monkeypatch.setattr(jwt, "PyJWK", parse)

        for _ in range(5):
            assert api.call(issuer.token()).status == 200
        assert len(parsed) == 1
