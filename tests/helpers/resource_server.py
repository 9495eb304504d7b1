"""An API in a project that is not the server, and the server it trusts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from django.test import Client

from tests.helpers.dpop import OFFER, DeviceKey
from tests.helpers.servers import RSA_KEY, jwk, send

Respond = Callable[[BaseHTTPRequestHandler], None]

ISSUER = "https://issuer.example"

AUDIENCE = "https://api.example"

CLIENT_ID = "the api:1"

CLIENT_SECRET = "s%cret +/ü"


@dataclass
class Asked:
    """A request that the issuer has got."""

    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Message


@dataclass
class Issuer:
    """A server of somebody else: its keys, its introspection endpoint and its revocation feed."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [jwk(RSA_KEY)])
    #: What introspection says of a token; other tokens are not active.
    active: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The revoked tokens: when each was revoked and when it expires, by its jti.
    revoked: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: The live tokens of users who are not active: when each expires, by its jti.
    suspended: dict[str, int] = field(default_factory=dict)
    #: What the head of the feed says instead of the truth, and the other pieces.
    feed_claims: dict[str, Any] = field(default_factory=dict)
    piece_claims: dict[str, Any] = field(default_factory=dict)
    suspended_claims: dict[str, Any] = field(default_factory=dict)
    #: How much time a piece of the feed covers that is not of a full hour, in seconds.
    span: int = 60
    #: Likewise of one with tokens of users who are not active.
    suspended_span: int = 3600
    feed_headers: dict[str, Any] = field(default_factory=dict)
    feed_key: Any = RSA_KEY
    #: How far its clock is ahead, in seconds.
    ahead: int = 0
    #: What to do in place of answering, by path.
    respond: dict[str, Respond] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def token(
        self,
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a JWT access token; None takes a claim or header out."""
        now = int(time.time())
        merged = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "client_id": "mobile",
            "iat": now,
            "exp": now + 600,
            "jti": "token-1",
            "scope": "read write",
            **claims,
        }
        merged_headers = {"kid": "one", "typ": "at+jwt", **(headers or {})}
        return jwt.encode(
            {name: value for name, value in merged.items() if value is not None},
            key,
            algorithm=algorithm,
            headers={
                name: value for name, value in merged_headers.items() if value is not None or name == "typ"
            },
        )

    def revoke(self, jti: str, expires_in: int = 600) -> None:
        now = int(time.time()) + self.ahead
        self.revoked[jti] = (now, now + expires_in)

    def requests(self, path: str) -> list[Asked]:
        """Return the requests to a path."""
        return [asked for asked in self.asked if asked.path == path]

    def heads(self, path: str) -> list[Asked]:
        """Return the requests for the head of the feed."""
        return [asked for asked in self.requests(path) if not asked.query]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        asked = Asked(
            parts.path, dict(parse_qsl(parts.query)), dict(parse_qsl(body.decode())), handler.headers
        )
        self.asked.append(asked)
        if asked.path in self.respond:
            self.respond[asked.path](handler)
        elif asked.path == "/jwks":
            send(handler, json.dumps({"keys": self.keys}).encode())
        elif asked.path == "/introspect":
            send(handler, json.dumps(self.active.get(asked.form["token"], {"active": False})).encode())
        else:
            self.send_feed(handler, asked)

    def send_feed(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        now = int(time.time()) + self.ahead
        own: dict[str, Any]
        if "from" in asked.query:
            own = self._piece(int(asked.query["from"]), now)
            changed = self.piece_claims
        elif "suspended" in asked.query:
            own = self._suspended_piece(int(asked.query["suspended"]))
            changed = self.suspended_claims
        else:
            own, changed = self._head(now), self.feed_claims
        etag = f'"{hash(str(own))}"'
        if asked.headers["If-None-Match"] == etag:
            send(handler, b"", 304, ETag=etag)
            return
        claims = {"iss": ISSUER, "iat": now, "exp": now + 600, **own, **changed}
        headers = {"typ": "revoked-tokens+jwt", "kid": "one", **self.feed_headers}
        claims = {name: value for name, value in claims.items() if value is not None}
        text = jwt.encode(claims, self.feed_key, "RS256", headers)
        send(handler, text.encode(), ETag=etag)

    def _head(self, now: int) -> dict[str, Any]:
        closed = (now - 300) // 60 * 60
        listed = closed - 120
        live = [revoked for revoked, expires in self.revoked.values() if expires > now]
        minutes = sorted({revoked // 60 * 60 for revoked in live})
        return {
            "first": min([listed, *minutes]) // 3600 * 3600,
            "closed": closed,
            "listed": listed,
            "slices": {
                str(minute): state_of(self._within(minute, 60, now)) for minute in minutes if minute >= listed
            },
            "suspended": {
                str(hour): state_of(self._expiring(hour, 3600))
                for hour in {expires // 3600 * 3600 for expires in self.suspended.values()}
            },
        }

    def _piece(self, moment: int, now: int) -> dict[str, Any]:
        first = self._head(now)["first"]
        if moment < first:
            return {"from": 0, "until": first, "revoked": {}}
        closed = (now - 300) // 60 * 60
        span = 3600 if moment // 3600 * 3600 + 3600 <= closed else self.span
        start = moment // span * span
        revoked = self._within(start, span, now)
        state = None if start < closed else state_of(self._within(start // 60 * 60, 60, now))
        return {"from": start, "until": start + span, "revoked": revoked, "state": state}

    def _suspended_piece(self, moment: int) -> dict[str, Any]:
        start = moment // self.suspended_span * self.suspended_span
        return {
            "from": start,
            "until": start + self.suspended_span,
            "suspended": self._expiring(start, self.suspended_span),
            "state": state_of(self._expiring(start // 3600 * 3600, 3600)),
        }

    def _expiring(self, start: int, span: int) -> dict[str, int]:
        return {jti: exp for jti, exp in self.suspended.items() if start <= exp < start + span}

    def _within(self, start: int, span: int, now: int) -> dict[str, int]:
        return {
            jti: expires
            for jti, (revoked, expires) in self.revoked.items()
            if expires > now and start <= revoked < start + span
        }


def state_of(tokens: dict[str, int]) -> str:
    """Return what differs where tokens do."""
    return " ".join(("of", *sorted(tokens)))


@dataclass
class Answer:
    """What the API answered."""

    status: int
    data: dict[str, Any]
    challenge: str | None
    #: For the next proof.
    nonce: str | None = field(default=None, compare=False)


class Api:
    """The API, called over HTTP."""

    def __init__(self) -> None:
        self.http = Client()

    def call(self, token: str | None = None, path: str = "/me/", **headers: str) -> Answer:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = self.http.get(
            path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        return Answer(
            response.status_code,
            response.json(),
            response.headers.get("WWW-Authenticate"),
            response.headers.get("DPoP-Nonce"),
        )

    def prove(self, key: DeviceKey, token: str, path: str = "/me/", **options: Any) -> Answer:
        """Call the API with a sender-constrained token and a new proof.

        :param options: what is unusual of the proof, as for ``DeviceKey.proof``.
        """
        return self.call(None, path, **key.headers("GET", path, token, **options))


def _invalid(description: str) -> str:
    attributes = f'realm="api",error="invalid_token",error_description="{description}",scope="read"'
    return f"Bearer {attributes}{OFFER}"


#: What the APIs answer that take the scope "read": a client that asks for another token is told.
INVALID = _invalid("The access token is invalid.")

EXPIRED = _invalid("The access token has expired.")


def assert_invalid(answer: Answer, challenge: str = INVALID) -> None:
    assert (answer.status, answer.challenge) == (401, challenge)


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.challenge) == (503, None)
    assert "does not answer" in str(answer.data)
