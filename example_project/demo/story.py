"""What the demo plays, and what each step is documented to do.

The documented behaviour is spelt out here on its own, so that it can contradict what the server does.
"""

import base64
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from example_project.demo.client import Client, Exchange
from example_project.demo.device_key import DeviceKey
from example_project.demo.server import REVOCATION_DELAY
from oauth_binding.binding.semantics import TokenType


@dataclass(frozen=True)
class Pair:
    """An access and a refresh token that were answered together."""

    #: What the story calls it.
    name: str
    binding_id: str | None
    access: str
    refresh: str
    #: Whose tokens they are: only it may introspect the refresh token.
    client: Client


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
            exchange = self._client.request_token(binding_id)
            yield self._obtain("A token request", binding_id, exchange)
        superseded = self._live["phone"]
        yield self._refresh(superseded)
        current = self._live["phone"]
        yield self._refresh_in_vain("The refresh token that has been used, once more", superseded, None)
        yield self._refresh_in_vain("A refresh that names another tokenBindingId", current, "laptop")
        yield self._call_api(current, 200)
        yield self._call_api(superseded, 401)
        yield self._revoke("laptop")

    def _obtain(self, request: str, binding_id: str | None, exchange: Exchange) -> Step:
        previous = self._live.get(binding_id)
        named = "without tokenBindingId" if binding_id is None else f"with tokenBindingId={binding_id}"
        title = f"{request} {named}" + ("" if previous is None else ", again")
        if previous is not None and self._is_answered_again(previous):
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

    def _is_answered_again(self, live: Pair) -> bool:
        return self._token_type is TokenType.OPAQUE

    def _refresh(self, pair: Pair, how: str = "") -> Step:
        exchange = self._client.refresh(pair.refresh)
        differences = self._check_new_tokens(exchange)
        issued = self._issue(pair.binding_id, exchange)
        documented = f"a new pair in the same binding, {issued.name}; {pair.name} is revoked"
        return self._step(f"A refresh of {pair.name}{how}", documented, exchange, differences, issued)

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

    def _issue(self, binding_id: str | None, exchange: Exchange, client: Client | None = None) -> Pair:
        name = binding_id or "no-id"
        number = 1 + sum(pair.binding_id == binding_id for pair in self._issued)
        pair = Pair(f"{name}-{number}", binding_id, *_tokens(exchange), client or self._client)
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
            access = pair.client.introspect(pair.access)
            refresh = pair.client.introspect(pair.refresh)
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
            names = ("active", "binding_type", "binding_ref", "cnf")
            found = {name: found[name] for name in names if name in found}
        if (exchange.status, found) == (200, expected):
            return []
        return [f"introspection of {pair.name} ({kind} token): {exchange.status} {found}, not 200 {expected}"]

    def _documented_introspection(self, pair: Pair) -> dict[str, Any]:
        if pair is not self._live.get(pair.binding_id):
            return {"active": False}
        if pair.binding_id is None:
            return {"active": True}
        return {"active": True, "binding_type": "client-request", "binding_ref": _reference(pair.binding_id)}


class ExchangeStory(Story):
    """A backend exchanges the token of a mobile app, for a token for each of its own tasks."""

    def __init__(self, mobile: Client, backend: Client, token_type: TokenType) -> None:
        """
        :param mobile: of an application that has no tokens for a tablet yet.
        :param backend: of an application that may exchange them, and has no tokens yet.
        :param token_type: that of both.
        """
        super().__init__(backend, token_type)
        self._mobile = mobile

    def play(self) -> Iterator[Step]:
        yield self._sign_in("tablet")
        subject = self._live["tablet"]
        for binding_id in ("orders", "invoices", "orders"):
            exchange = self._client.exchange_token(subject.access, binding_id)
            yield self._obtain(f"The backend exchanges {subject.name}", binding_id, exchange)
        yield self._revoke_subject(subject)

    def _sign_in(self, binding_id: str) -> Step:
        exchange = self._mobile.request_token(binding_id)
        differences = self._check_new_tokens(exchange)
        issued = self._issue(binding_id, exchange, self._mobile)
        title = f"The mobile app's token request with tokenBindingId={binding_id}"
        return self._step(title, f"a new token, {issued.name}", exchange, differences, issued)

    def _revoke_subject(self, subject: Pair) -> Step:
        self._live.clear()
        exchange = self._mobile.revoke(subject.access)
        differences = [] if exchange.status == 200 else [f"revocation answered {exchange.status}"]
        documented = f"{subject.name} is revoked, and so is what was exchanged from it"
        return self._step(f"The mobile app revokes {subject.name}", documented, exchange, differences)


class KeyStory(Story):
    """A device proves a key of its own with every request, so that its tokens are of no use to a thief."""

    def __init__(self, device: Client, thief: Client, api: str, token_type: TokenType) -> None:
        """
        :param device: of an application that demands proofs, and has no tokens yet.
        :param thief: who has learnt what the device knows, but for its key.
        :param api: the address of an API that asks for nonces, without a trailing slash.
        :param token_type: that of the application.
        """
        super().__init__(device, token_type)
        self._thief = thief
        self._api = api
        # What each pair is bound to, by its name.
        self._thumbprints: dict[str, str] = {}
        self._key = self._make_key()

    def play(self) -> Iterator[Step]:
        yield self._ask_without_a_proof("camera")
        yield self._ask("A token request that proves a key,", "camera")
        first = self._live["camera"]
        call = self._client.call_api(first.access)
        yield self._call(f"The device calls an API with {first.name} and a proof", call, 200)

        title = f"A thief calls the API with {first.name}"
        yield self._call(f"{title} as a bearer token", self._thief.call_api(first.access), 401)
        again = self._thief.call_api(first.access, proof=call.proof)
        yield self._call(f"{title} and the device's proof, once more", again, 401, "invalid_dpop_proof")
        self._thief.key = DeviceKey()
        yield self._call(f"{title} and a proof of another key", self._thief.call_api(first.access), 401)

        self._key = self._make_key()
        yield self._refresh(first, " that proves another key")
        yield self._ask("A token request that proves the same key,", "camera")
        self._thief.key, self._key = self._key, self._make_key()
        yield self._ask("A token request that proves yet another key,", "camera")

        last = self._live["camera"]
        title = f"A thief who has the key before calls the API with {last.name}"
        yield self._call(title, self._thief.call_api(last.access), 401)
        title = f"The device calls the other machine's API with {last.name} and a proof"
        url = f"{self._api}/api/me/"
        call = self._client.call_api(last.access, url)
        yield self._call(f"{title} without a nonce", call, 401, "use_dpop_nonce")
        yield self._call(
            f"{title} with the nonce", self._client.call_api(last.access, url, nonce=call.nonce), 200
        )

    def _make_key(self) -> DeviceKey:
        self._client.key = DeviceKey()
        return self._client.key

    def _ask(self, request: str, binding_id: str) -> Step:
        return self._obtain(request, binding_id, self._client.request_token(binding_id))

    def _ask_without_a_proof(self, binding_id: str) -> Step:
        exchange = self._thief.request_token(binding_id)
        refused = (exchange.status, exchange.error) == (400, "invalid_dpop_proof")
        differences = [] if refused else ["the request was not refused with 400 invalid_dpop_proof"]
        title = f"A token request without a proof, with tokenBindingId={binding_id}"
        return self._step(title, "400 invalid_dpop_proof", exchange, differences)

    def _call(self, title: str, exchange: Exchange, status: int, error: str = "") -> Step:
        if status == 401:
            error = error or "invalid_token"
        documented = f"the API answers {status} {error}".rstrip()
        is_right = (exchange.status, exchange.error) == (status, error)
        differences = [] if is_right else [f"the API answered {exchange.status} {exchange.error}"]
        if error == "use_dpop_nonce":
            documented += ", and gives a nonce"
            differences += [] if exchange.nonce else ["no nonce was given"]
        return self._step(title, documented, exchange, differences)

    def _is_answered_again(self, live: Pair) -> bool:
        # To the same key only: another one could not use it.
        is_same = self._thumbprints[live.name] == self._key.thumbprint
        return is_same and super()._is_answered_again(live)

    def _issue(self, binding_id: str | None, exchange: Exchange, client: Client | None = None) -> Pair:
        pair = super()._issue(binding_id, exchange, client)
        self._thumbprints[pair.name] = self._key.thumbprint
        return pair

    def _check_new_tokens(self, exchange: Exchange) -> list[str]:
        answered = exchange.data.get("token_type")
        differences = [] if answered == "DPoP" else [f"the token_type is {answered}, not DPoP"]
        return [*super()._check_new_tokens(exchange), *differences]

    def _documented_introspection(self, pair: Pair) -> dict[str, Any]:
        expected = super()._documented_introspection(pair)
        if expected["active"]:
            expected["cnf"] = {"jkt": self._thumbprints[pair.name]}
        return expected


class OtherMachineStory(Story):
    """An API on another machine, which has neither our database nor our code, takes the tokens of devices."""

    def __init__(self, client: Client, api: str, token_type: TokenType) -> None:
        """
        :param client: of an application that has no tokens for a watch or a car yet.
        :param api: the address of the API, without a trailing slash.
        :param token_type: that of the application.
        """
        super().__init__(client, token_type)
        self._api = api

    def play(self) -> Iterator[Step]:
        for binding_id in ("watch", "car"):
            yield self._obtain("A token request", binding_id, self._client.request_token(binding_id))
        watch, car = self._live["watch"], self._live["car"]
        yield self._call("/api/me/", watch)
        yield self._call("/api/plain/", car)
        if self._token_type is TokenType.JWT:
            yield self._obtain("A token request", "watch", self._client.request_token("watch"))
            yield self._call("/api/me/", watch)
            watch = self._live["watch"]
        yield self._call("/api/private/", watch, presented=None)
        yield self._call("/api/private/", watch, presented="car")
        yield self._call("/api/private/", watch, presented="watch")
        yield self._revoke("car")
        yield self._call("/api/plain/", car)
        yield self._call("/api/me/", watch)

    def _call(self, path: str, pair: Pair, presented: str | None = "") -> Step:
        """:param presented: what the request says it is bound to, where the API asks for that."""
        asks = presented != ""
        is_live = pair is self._live.get(pair.binding_id)
        if not is_live:
            time.sleep(REVOCATION_DELAY)
        exchange = self._client.call_api(pair.access, self._api + path, presented or None)
        title = f"A call of the other machine's {path} with {'' if is_live else 'the revoked '}{pair.name}"
        if asks:
            title += f", {'without' if presented is None else f'and {presented} as'} its Token-Binding-Id"
        if is_live and (not asks or presented == pair.binding_id):
            expected = {"binding_type": "client-request", "binding_ref": _reference(pair.binding_id or "")}
            documented = "the API answers 200, and knows the binding"
            is_right = exchange.status == 200 and expected.items() <= exchange.data.items()
        else:
            documented = "the API answers 401"
            if not is_live:
                documented += f", {REVOCATION_DELAY} second after the revocation"
            is_right = exchange.status == 401
        differences = [] if is_right else [f"the API answered {exchange.status} {exchange.data}"]
        return self._step(title, documented, exchange, differences)


def _reference(binding_id: str) -> str:
    digest = hashlib.sha256(binding_id.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _tokens(exchange: Exchange) -> tuple[str, str]:
    return exchange.data.get("access_token", ""), exchange.data.get("refresh_token", "")
