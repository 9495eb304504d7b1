"""Access tokens that the API asks the server about (RFC 7662)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.core.cache import cache

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.resource_server import (
    AUDIENCE,
    CLIENT_SECRET,
    EXPIRED,
    ISSUER,
    Api,
    Issuer,
    assert_invalid,
    assert_unavailable,
)
from tests.helpers.servers import FAILURES, OTHER_KEY, send

TOKEN = "an-opaque.token~of/some+length=="
PATH = "/introspect"


def active(**members: Any) -> dict[str, Any]:
    answer = {"active": True, "scope": "read", "client_id": "mobile", "sub": "alice", "token_type": "Bearer"}
    return {**answer, **members}


@pytest.fixture(autouse=True)
def _introspecting(introspecting: Callable[..., None], api: Api, issuer: Issuer) -> None:
    introspecting()
    issuer.active[TOKEN] = active()


def sends(body: Any, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: send(handler, raw, status)


class TestAsking:
    def test_an_active_token(self, api: Api, issuer: Issuer) -> None:
        reference = binding_reference("phone")
        issuer.active[TOKEN] |= {"binding_type": "client-request", "binding_ref": reference}

        answer = api.call(TOKEN)

        assert (answer.status, answer.data) == (
            200,
            {
                "user": "alice",
                "scope": "read",
                "scopes": ["read"],
                "binding": ["client-request", reference],
            },
        )

    def test_the_request(self, api: Api, issuer: Issuer) -> None:
        """RFC 7662 section 2.1, with the credentials as RFC 6749 section 2.3.1 encodes them."""
        api.call(TOKEN)

        (asked,) = issuer.asked
        assert asked.form == {"token": TOKEN, "token_type_hint": "access_token"}
        assert asked.query == {}
        scheme, credentials = asked.headers["Authorization"].split()
        assert scheme == "Basic"
        assert base64.b64decode(credentials) == b"the+api%3A1:s%25cret+%2B%2F%C3%BC"
        assert asked.headers["Accept"] == "application/json"

    def test_a_token_that_is_not_active(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call("unknown"))
        assert_invalid(api.call("unknown", "/plain/"))

    @pytest.mark.parametrize(
        "members",
        [
            {"iss": ISSUER, "aud": AUDIENCE},
            {"aud": ["other", AUDIENCE]},
            {"exp": int(time.time()) + 86_400, "iat": int(time.time()), "nbf": int(time.time())},
            {"token_type": "bearer"},
            {"token_type": "access_token"},
            {"token_type": None, "exp": None, "aud": None, "iss": None},
            {"iat": time.time() + 20},
            {"extension": {"x": [1.5]}},
        ],
    )
    def test_accepted_answers(self, api: Api, issuer: Issuer, members: dict[str, Any]) -> None:
        issuer.active[TOKEN] |= members

        assert api.call(TOKEN).status == 200

    @pytest.mark.parametrize(
        "members",
        [
            {"iss": "https://other.example"},
            {"aud": "https://other.example"},
            {"aud": ["https://other.example"]},
            {"nbf": int(time.time()) + 3600},
            {"iat": int(time.time()) + 3600},
            {"token_type": "refresh_token"},
            {"token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
            {"token_type": "DPoP"},
            {"token_type": ["Bearer"]},
        ],
    )
    def test_refused_answers(self, api: Api, issuer: Issuer, members: dict[str, Any]) -> None:
        issuer.active[TOKEN] |= members

        assert_invalid(api.call(TOKEN))
        assert_invalid(api.call(TOKEN))  # also from the cache

    def test_an_answer_with_a_token_that_has_expired(self, api: Api, issuer: Issuer) -> None:
        issuer.active[TOKEN] |= {"exp": int(time.time()) - 60}

        assert_invalid(api.call(TOKEN), EXPIRED)

    def test_without_an_audience_of_its_own_the_api_takes_any(
        self, api: Api, issuer: Issuer, introspecting: Callable[..., None]
    ) -> None:
        introspecting(AUDIENCE=None)
        issuer.active[TOKEN] |= {"aud": "https://other.example"}

        assert api.call(TOKEN).status == 200

    @pytest.mark.parametrize(
        ("members", "user"),
        [
            ({"sub": "alice"}, "alice"),
            ({"sub": "mobile"}, None),
            ({"sub": None}, None),
            ({"sub": None, "client_id": None}, None),
            ({"client_id": None}, "alice"),
        ],
    )
    def test_users(self, api: Api, issuer: Issuer, members: dict[str, Any], user: str | None) -> None:
        """A token of a client, or one of which the server says nothing, has no user."""
        issuer.active[TOKEN] = active(**members)

        assert api.call(TOKEN).data["user"] == user


class TestCache:
    def test_an_answer_is_kept(self, api: Api, issuer: Issuer) -> None:
        for _ in range(3):
            assert api.call(TOKEN).status == 200
            assert_invalid(api.call("unknown"))

        assert len(issuer.asked) == 2

    def test_for_a_while(self, api: Api, issuer: Issuer, introspecting: Callable[..., None]) -> None:
        introspecting(INTROSPECTION_CACHE_SECONDS=0.3)
        assert api.call(TOKEN).status == 200
        del issuer.active[TOKEN]
        issuer.active["new"] = active()

        time.sleep(0.4)

        assert_invalid(api.call(TOKEN))
        assert api.call("new").status == 200

    def test_not_longer_than_the_token_lives(self, api: Api, issuer: Issuer) -> None:
        issuer.active[TOKEN] |= {"exp": time.time() + 0.3}
        assert api.call(TOKEN).status == 200
        del issuer.active[TOKEN]

        time.sleep(0.4)

        assert_invalid(api.call(TOKEN))

    def test_not_at_all(self, api: Api, issuer: Issuer, introspecting: Callable[..., None]) -> None:
        introspecting(INTROSPECTION_CACHE_SECONDS=0)
        assert api.call(TOKEN).status == 200
        del issuer.active[TOKEN]

        assert_invalid(api.call(TOKEN))
        assert len(issuer.asked) == 2

    def test_each_server_and_client_has_its_own_answers(
        self, api: Api, issuer: Issuer, introspecting: Callable[..., None]
    ) -> None:
        api.call(TOKEN)
        introspecting(CLIENT_ID="another")
        api.call(TOKEN)

        assert len(issuer.asked) == 2

    def test_the_token_is_not_kept(self, api: Api, issuer: Issuer) -> None:
        api.call(TOKEN)

        kept = vars(cache._connections[cache._alias])["_cache"]  # type: ignore[attr-defined]
        assert len(kept) == 1
        assert TOKEN not in str(kept)
        assert TOKEN.encode() not in b"".join(kept.values())

    def test_an_outage_is_not_kept(self, api: Api, issuer: Issuer) -> None:
        issuer.respond[PATH] = sends(b"", 500)
        assert_unavailable(api.call(TOKEN))
        issuer.respond.clear()

        assert api.call(TOKEN).status == 200


class TestSimultaneousRequests:
    def test_one_asks_for_all(self, api: Api, issuer: Issuer, introspecting: Callable[..., None]) -> None:
        introspecting(INTROSPECTION_CACHE_SECONDS=0)

        def answer_slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.3)
            send(handler, json.dumps(active()).encode())

        issuer.respond[PATH] = answer_slowly
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: Api().call(TOKEN).status, range(8)))

        assert answers == [200] * 8
        assert len(issuer.asked) == 1

    def test_tokens_do_not_wait_for_each_other(self, api: Api, issuer: Issuer) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def answer_late(handler: BaseHTTPRequestHandler) -> None:
            if issuer.asked[-1].form["token"] == "late":
                asked.set()
                go_on.wait(5)
            send(handler, json.dumps(active()).encode())

        issuer.respond[PATH] = answer_late
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(Api().call, "late")
            try:
                assert asked.wait(5)
                assert api.call(TOKEN).status == 200
                assert not late.done()
            finally:
                go_on.set()
            assert late.result().status == 200

    def test_an_outage_is_one_for_all(self, api: Api, issuer: Issuer) -> None:
        def refuse_slowly(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.3)
            send(handler, b"", 500)

        issuer.respond[PATH] = refuse_slowly
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: Api().call(TOKEN), range(4)))

        for answer in answers:
            assert_unavailable(answer)
        assert len(issuer.asked) == 1


class TestOutages:
    @pytest.mark.usefixtures("short_timeout")
    @pytest.mark.parametrize("failure", FAILURES)
    def test_a_server_in_trouble(
        self,
        api: Api,
        issuer: Issuer,
        caplog: pytest.LogCaptureFixture,
        failure: Callable[[BaseHTTPRequestHandler], None],
    ) -> None:
        issuer.respond[PATH] = failure
        started = time.monotonic()

        assert_unavailable(api.call(TOKEN))

        assert time.monotonic() - started < 2
        assert "The introspection endpoint" in caplog.text
        assert_says_no_secret(caplog)
        issuer.respond.clear()
        assert api.call(TOKEN).status == 200

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            None,
            "text",
            {"active": None},
            {"active": "true"},
            {"active": 1},
            active(exp="never"),
            active(exp=True),
            active(sub=1),
            active(scope=["read"]),
            active(aud=1),
            active(binding_ref="x"),
            b'{"active": true, "active": true}',
            b'{"active": true, "exp": NaN}',
            b'{"active": true, "sub": "\\ud800"}',
            b'{"active": true, "sub": "\\u0000"}',
            b"",
            b"true",
            b"\xff",
        ],
    )
    def test_answers_that_say_nothing(
        self, api: Api, issuer: Issuer, caplog: pytest.LogCaptureFixture, body: Any
    ) -> None:
        issuer.respond[PATH] = sends(body)

        assert_unavailable(api.call(TOKEN))
        assert_says_no_secret(caplog)

    def test_a_server_that_repeats_what_it_was_asked(
        self, api: Api, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        def repeat(handler: BaseHTTPRequestHandler) -> None:
            credentials = handler.headers["Authorization"]
            handler.wfile.write(f"{credentials} {issuer.asked[-1].form['token']}\x1b[2K\r\n".encode())
            handler.close_connection = True

        issuer.respond[PATH] = repeat

        assert_unavailable(api.call(TOKEN))

        assert "can't be used: BadStatusLine" in caplog.text
        assert_says_no_secret(caplog)
        assert "Basic" not in caplog.text

    @pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
    def test_other_statuses(
        self, api: Api, issuer: Issuer, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        issuer.respond[PATH] = sends(active(), status)

        assert_unavailable(api.call(TOKEN))
        assert f"answers {status}" in caplog.text

    def test_wrong_credentials(self, api: Api, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
        issuer.respond[PATH] = sends({"error": "invalid_client"}, 401)

        assert_unavailable(api.call(TOKEN))

        (record,) = [record for record in caplog.records if record.name.startswith("oauth_binding")]
        assert record.levelname == "ERROR"
        assert "does not accept CLIENT_ID and CLIENT_SECRET" in record.message
        assert_says_no_secret(caplog)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, api: Api, issuer: Issuer, status: int) -> None:
        issuer.respond[PATH] = lambda handler: send(handler, b"", status, Location=f"{issuer.url}/other")

        assert_unavailable(api.call(TOKEN))
        assert [asked.path for asked in issuer.asked] == [PATH]

    def test_a_server_that_is_not_there(self, api: Api, introspecting: Callable[..., None]) -> None:
        introspecting(INTROSPECTION_URL="http://127.0.0.1:9/introspect")

        assert_unavailable(api.call(TOKEN))


def assert_says_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    assert TOKEN not in caplog.text
    assert CLIENT_SECRET not in caplog.text


class TestBoth:
    """JWTs are validated here and then asked about; the server is asked about all other tokens."""

    @pytest.fixture(autouse=True)
    def _both(self, introspecting: Callable[..., None], _introspecting: None) -> None:
        introspecting("local+introspection")

    def test_an_opaque_token(self, api: Api, issuer: Issuer) -> None:
        assert api.call(TOKEN).status == 200
        assert_invalid(api.call("unknown"))
        assert issuer.requests("/jwks") == []

    @pytest.mark.parametrize(
        "text", ["a.b.c", "e30.e30.e30.e30.e30", "eyJ.x.x", "eyJh.x.x", "..", "x" * 16_384]
    )
    def test_a_text_that_is_no_jwt(self, api: Api, issuer: Issuer, text: str) -> None:
        assert_invalid(api.call(text))
        assert len(issuer.requests(PATH)) == 1

    def test_a_jwt(self, api: Api, issuer: Issuer) -> None:
        token = issuer.token(scope="read write")
        issuer.active[token] = active(scope="ignored", sub="ignored")

        for _ in range(3):
            answer = api.call(token)
            assert (answer.status, answer.data["scope"], answer.data["user"]) == (200, "read write", "alice")
        assert len(issuer.requests(PATH)) == 1

    def test_a_revoked_jwt(self, api: Api, issuer: Issuer) -> None:
        assert_invalid(api.call(issuer.token()))
        assert len(issuer.requests(PATH)) == 1

    @pytest.mark.parametrize(
        "change",
        [{"key": OTHER_KEY}, {"headers": {"typ": "JWT"}}, {"aud": "https://other.example"}, {"exp": 1}],
    )
    def test_a_jwt_that_is_not_valid_is_not_asked_about(
        self, api: Api, issuer: Issuer, change: dict[str, Any]
    ) -> None:
        token = issuer.token(**change)
        issuer.active[token] = active()

        assert api.call(token).status == 401
        assert issuer.requests(PATH) == []

    def test_an_outage(self, api: Api, issuer: Issuer) -> None:
        issuer.respond[PATH] = sends(b"", 503)

        assert_unavailable(api.call(issuer.token()))
        assert_unavailable(api.call(TOKEN))
        assert_invalid(api.call(issuer.token(OTHER_KEY)))

    def test_with_a_feed_jwts_are_looked_up_there(
        self, api: Api, issuer: Issuer, introspecting: Callable[..., None]
    ) -> None:
        introspecting("local+introspection", REVOCATION_FEED_URL=f"{issuer.url}/revoked")
        issuer.revoke("token-2")

        assert api.call(issuer.token()).status == 200
        assert_invalid(api.call(issuer.token(jti="token-2")))
        assert issuer.requests(PATH) == []
        assert api.call(TOKEN).status == 200
