"""What the demo plays, and what each step is documented to do.

The documented behaviour is spelt out here on its own, so that it can contradict what the server does.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from example_project.demo.client import Client, Exchange
from oauth_binding.semantics import TokenType


@dataclass(frozen=True)
class Pair:
    """An access and a refresh token that were answered together."""

    #: What the story calls it.
    name: str
    binding_id: str | None
    access: str
    refresh: str


@dataclass(frozen=True)
class Step:
    """A request, and how the server stands after it."""

    title: str
    documented: str
    exchange: Exchange
    #: The introspection of the new access token, where the step issues one.
    introspection: Exchange | None
    #: The names of the pairs whose access token introspection calls active, and of the others.
    active: list[str]
    inactive: list[str]
    #: What is not as documented.
    differences: list[str]


class Story:
    """One application's devices: they get tokens, refresh them, use them and lose them."""

    def __init__(self, client: Client, token_type: TokenType) -> None:
        """
        :param client: of an application with client-request binding that has no tokens yet.
        :param token_type: that of the application.
        """
        self._client = client
        self._token_type = token_type
        self._issued: list[Pair] = []
        # The documented state: a tokenBindingId, or None, holds at most one live pair.
        self._live: dict[str | None, Pair] = {}

    def play(self) -> Iterator[Step]:
        """Play the story to its end, whatever the server answers."""
        for binding_id in (None, None, "phone", "phone", "laptop", None):
            yield self._request_token(binding_id)
        superseded = self._live["phone"]
        yield self._refresh(superseded)
        current = self._live["phone"]
        yield self._refresh_in_vain("The refresh token that has been used, once more", superseded, None)
        yield self._refresh_in_vain("A refresh that names another tokenBindingId", current, "laptop")
        yield self._call_api(current, 200)
        yield self._call_api(superseded, 401)
        yield self._revoke("laptop")

    def _request_token(self, binding_id: str | None) -> Step:
        exchange = self._client.request_token(binding_id)
        previous = self._live.get(binding_id)
        named = "without tokenBindingId" if binding_id is None else f"with tokenBindingId={binding_id}"
        title = f"A token request {named}" + ("" if previous is None else ", again")
        if previous is not None and self._token_type is TokenType.OPAQUE:
            same = _tokens(exchange) == (previous.access, previous.refresh)
            differences = [] if same else ["other tokens were answered"]
            return self._step(
                title, f"the same token, {previous.name}, until it expires", exchange, differences
            )
        differences = self._check_new_tokens(exchange)
        issued = self._issue(binding_id, exchange)
        documented = f"a new token, {issued.name}"
        if previous is not None:
            documented += f"; {previous.name} is revoked"
        if len(self._live) > 1:
            documented += "; those of other ids stay"
        return self._step(title, documented, exchange, differences, issued)

    def _refresh(self, pair: Pair) -> Step:
        exchange = self._client.refresh(pair.refresh)
        differences = self._check_new_tokens(exchange)
        issued = self._issue(pair.binding_id, exchange)
        documented = f"a new pair in the same binding, {issued.name}; {pair.name} is revoked"
        return self._step(f"A refresh of {pair.name}", documented, exchange, differences, issued)

    def _refresh_in_vain(self, title: str, pair: Pair, binding_id: str | None) -> Step:
        exchange = self._client.refresh(pair.refresh, binding_id)
        refused = (exchange.status, exchange.data.get("error")) == (400, "invalid_grant")
        differences = [] if refused else ["the refresh was not refused with 400 invalid_grant"]
        return self._step(title, "400 invalid_grant, and nothing changes", exchange, differences)

    def _call_api(self, pair: Pair, status: int) -> Step:
        exchange = self._client.call_api(pair.access)
        differences = [] if exchange.status == status else [f"the API answered {exchange.status}"]
        is_live = pair is self._live[pair.binding_id]
        title = f"An API call with the {'live' if is_live else 'superseded'} token {pair.name}"
        return self._step(title, f"the API answers {status}", exchange, differences)

    def _revoke(self, binding_id: str) -> Step:
        pair = self._live.pop(binding_id)
        exchange = self._client.revoke(pair.access)
        differences = [] if exchange.status == 200 else [f"revocation answered {exchange.status}"]
        documented = f"{pair.name} is revoked; those of other ids stay"
        return self._step(f"A revocation of {pair.name}", documented, exchange, differences)

    def _issue(self, binding_id: str | None, exchange: Exchange) -> Pair:
        name = binding_id or "no-id"
        number = 1 + sum(pair.binding_id == binding_id for pair in self._issued)
        pair = Pair(f"{name}-{number}", binding_id, *_tokens(exchange))
        self._issued.append(pair)
        self._live[binding_id] = pair
        return pair

    def _check_new_tokens(self, exchange: Exchange) -> list[str]:
        access, refresh = _tokens(exchange)
        if not (access and refresh):
            return ["no tokens were answered"]
        if any(access == pair.access or refresh == pair.refresh for pair in self._issued):
            return ["a token was answered that had been issued before"]
        is_jwt = access.count(".") == 2
        if is_jwt is not (self._token_type is TokenType.JWT):
            return [f"the access token is {'' if is_jwt else 'not '}a JWT"]
        return []

    def _step(
        self,
        title: str,
        documented: str,
        exchange: Exchange,
        differences: list[str],
        issued: Pair | None = None,
    ) -> Step:
        active: list[str] = []
        inactive: list[str] = []
        introspection = None
        for pair in self._issued:
            access = self._client.introspect(pair.access)
            refresh = self._client.introspect(pair.refresh)
            differences += self._check_introspection("access", pair, access)
            differences += self._check_introspection("refresh", pair, refresh)
            (active if access.data.get("active") else inactive).append(pair.name)
            if pair is issued:
                introspection = access
        return Step(title, documented, exchange, introspection, active, inactive, differences)

    def _check_introspection(self, kind: str, pair: Pair, exchange: Exchange) -> list[str]:
        expected = self._documented_introspection(pair)
        found = exchange.data
        if found.get("active"):
            names = ("active", "binding_type", "binding_ref")
            found = {name: found[name] for name in names if name in found}
        if (exchange.status, found) == (200, expected):
            return []
        return [f"introspection of {pair.name} ({kind} token): {exchange.status} {found}, not 200 {expected}"]

    def _documented_introspection(self, pair: Pair) -> dict[str, Any]:
        if pair is not self._live.get(pair.binding_id):
            return {"active": False}
        if pair.binding_id is None:
            return {"active": True}
        digest = hashlib.sha256(pair.binding_id.encode()).digest()
        reference = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return {"active": True, "binding_type": "client-request", "binding_ref": reference}


def _tokens(exchange: Exchange) -> tuple[str, str]:
    return exchange.data.get("access_token", ""), exchange.data.get("refresh_token", "")
