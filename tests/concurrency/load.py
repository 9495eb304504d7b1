"""Client processes that send token requests, and remember what they were answered and when."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from tests.concurrency.cluster import settle
from tests.concurrency.site import CLIENT_SECRET, PASSWORD, REDIRECT_URI, USERNAME

TIMEOUT = 60

#: What all authorization codes were requested with (RFC 7636 section 4.1).
CODE_VERIFIER = "a-code-verifier-of-at-least-forty-three-characters"


@dataclass(frozen=True)
class Event:
    """A request that was answered; times are of the machine's monotonic clock, in seconds."""

    kind: str
    client_id: str
    binding: str | None
    sent: str
    started: float
    ended: float
    status: int
    data: dict[str, Any]

    @property
    def access(self) -> str:
        return str(self.data["access_token"])


class Sender:
    """One client instance with connections of its own."""

    def __init__(self, address: str, client_id: str) -> None:
        self._address = address
        self.client_id = client_id
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.auth = (client_id, "" if "public" in client_id.split() else CLIENT_SECRET)

    def login(self, binding: str | None, proof: str | None = None) -> Event:
        form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
        return self._send("login", binding, proof or "", "token", form, proof)

    def exchange(self, binding: str | None, subject_token: str, kind: str = "access_token") -> Event:
        urn = "urn:ietf:params:oauth"
        form = {
            "grant_type": f"{urn}:grant-type:token-exchange",
            "subject_token": subject_token,
            "subject_token_type": f"{urn}:token-type:{kind}",
        }
        return self._send("exchange", binding, subject_token, "token", form)

    def redeem(self, binding: str | None, device_code: str) -> Event:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device_code}
        form["client_id"] = self.client_id
        return self._send("redeem", binding, device_code, "token", form)

    def redeem_code(self, binding: str | None, code: str) -> Event:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        form["code_verifier"] = CODE_VERIFIER
        return self._send("redeem code", binding, code, "token", form)

    def refresh(self, binding: str | None, refresh_token: str, proof: str | None = None) -> Event:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._send("refresh", binding, refresh_token, "token", form, proof)

    def revoke(self, binding: str | None, token: str) -> Event:
        return self._send("revoke", None, token, "revoke_token", {"token": token})

    def introspect(self, token: str) -> Event:
        return self._send("introspect", None, token, "introspect", {"token": token})

    def is_active(self, token: str) -> bool:
        event = self.introspect(token)
        assert event.status == 200
        return bool(event.data["active"])

    def call(self, token: str, proof: str) -> Event:
        """Ask an API with a token that is bound to the key of a proof."""
        started = time.monotonic()
        response = self._http.get(
            f"{self._address}/api/me/",
            headers={"Authorization": f"DPoP {token}", "DPoP": proof},
            auth=lambda request: request,  # not the client's
            timeout=TIMEOUT,
        )
        error = re.search(r'DPoP .*?error="(\w+)"', response.headers.get("WWW-Authenticate", ""))
        data = {"error": error[1]} if error else {}
        ended = time.monotonic()
        return Event("call", self.client_id, None, proof, started, ended, response.status_code, data)

    def _send(
        self,
        kind: str,
        binding: str | None,
        sent: str,
        endpoint: str,
        form: dict[str, str],
        proof: str | None = None,
    ) -> Event:
        if binding is not None:
            form["tokenBindingId"] = binding
        headers = {} if proof is None else {"DPoP": proof}
        started = time.monotonic()
        try:
            response = self._http.post(
                f"{self._address}/oauth2/{endpoint}", data=form, headers=headers, timeout=TIMEOUT
            )
        except requests.RequestException:
            return Event(kind, self.client_id, binding, sent, started, time.monotonic(), 0, {})
        try:
            data = response.json() if response.content else {}
        except ValueError:
            data = {}
        return Event(
            kind, self.client_id, binding, sent, started, time.monotonic(), response.status_code, data
        )


class User:
    """Somebody who is signed in to the site with a browser."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = requests.Session()
        self._http.trust_env = False
        self._post("/accounts/login/", username=USERNAME, password=PASSWORD)
        settle()

    def sign_out(self, client_id: str) -> None:
        """Sign all devices of an application out, as the page shows them."""
        found = {"q": client_id}
        page = self._http.get(f"{self._address}/oauth2/devices/", params=found, timeout=TIMEOUT).text
        for path in re.findall(r'href="(/oauth2/devices/(?:binding|application)-[^"/]+/sign-out/)', page):
            self._post(path)

    def _post(self, path: str, **form: str) -> None:
        if "csrftoken" not in self._http.cookies:
            self._http.get(self._address + path, timeout=TIMEOUT)
        form["csrfmiddlewaretoken"] = self._http.cookies["csrftoken"]
        response = self._http.post(self._address + path, data=form, timeout=TIMEOUT)
        assert response.status_code == 200, response.status_code


class Browser:
    """A browser in which the user is signed in; its tabs share what it has signed in with."""

    def __init__(self, address: str, cookies: Any = None) -> None:
        self._address = address
        self._http = requests.Session()
        self._http.trust_env = False
        if cookies is not None:
            self._http.cookies = cookies.copy()
            return
        self._http.get(f"{address}/accounts/login/", timeout=TIMEOUT)
        assert self._post("/accounts/login/", username=USERNAME, password=PASSWORD).status_code == 302
        settle()

    def tab(self) -> Browser:
        """Return another tab, with connections of its own."""
        return Browser(self._address, self._http.cookies)

    def authorize(self, client_id: str) -> Event:
        """Authorize an application, which does not have the user asked; the data is what it is told."""
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "read write",
            "code_challenge": CODE_VERIFIER,
            "code_challenge_method": "plain",
        }
        started = time.monotonic()
        response = self._http.get(
            f"{self._address}/oauth2/authorize/", params=query, allow_redirects=False, timeout=TIMEOUT
        )
        told = dict(parse_qsl(urlsplit(response.headers.get("Location", "")).query))
        ended = time.monotonic()
        return Event("authorize", client_id, None, "", started, ended, response.status_code, told)

    def read(self, path: str) -> str:
        """Return a page, or the one that it leads to."""
        return self._http.get(self._address + path, timeout=TIMEOUT).text

    def press(self, path: str) -> int:
        """Press the button of a form without fields, and return the status."""
        return self._post(path).status_code

    def log_out(self) -> Event:
        started = time.monotonic()
        status = self._post("/accounts/logout/").status_code
        return Event("log out", "", None, "", started, time.monotonic(), status, {})

    def _post(self, path: str, **form: str) -> requests.Response:
        form["csrfmiddlewaretoken"] = self._http.cookies["csrftoken"]
        return self._http.post(self._address + path, data=form, allow_redirects=False, timeout=TIMEOUT)


def in_processes(work: Iterable[Callable[[], list[Event]]]) -> list[Event]:
    """Run each piece of work in a process of its own, and return all their events."""
    pieces = list(work)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(pieces), mp_context=context) as pool:
        results = [pool.submit(piece) for piece in pieces]
        return [event for result in results for event in result.result()]


#: Sends one request with a binding.
Send = Callable[[Sender, str | None], Event]


def _send_each(
    address: str, client_id: str, send: Send, bindings: list[str | None], start: float, threads: int
) -> list[Event]:
    """Send a request with each binding, from several connections at once, beginning at a set time."""
    senders = [Sender(address, client_id) for _ in range(threads)]
    for sender in senders:
        sender.introspect("warm up")
    time.sleep(max(0.0, start - time.monotonic()))
    with ThreadPoolExecutor(threads) as pool:
        shares = [bindings[number::threads] for number in range(threads)]
        events = pool.map(_send_share, [send] * threads, senders, shares)
        return [event for share in events for event in share]


def _send_share(send: Send, sender: Sender, bindings: list[str | None]) -> list[Event]:
    return [send(sender, binding) for binding in bindings]


def _send_at_once(address: str, client_id: str, send: Send, bindings: list[str | None]) -> list[Event]:
    # The processes need a moment to start; then all begin together.
    start = time.monotonic() + 3.0
    return in_processes(
        partial(_send_each, address, client_id, send, bindings[number::4], start, 4) for number in range(4)
    )


def log_in_at_once(address: str, client_id: str, bindings: list[str | None]) -> list[Event]:
    """Log in with each binding, from four processes with sixteen connections together."""
    return _send_at_once(address, client_id, Sender.login, bindings)


def exchange_at_once(
    address: str, client_id: str, bindings: list[str | None], subject_token: str
) -> list[Event]:
    """Exchange a token with each binding, in the same way."""
    send = partial(Sender.exchange, subject_token=subject_token)
    return _send_at_once(address, client_id, send, bindings)


def redeem_at_once(address: str, client_id: str, bindings: list[str | None], device_code: str) -> list[Event]:
    """Redeem a device code with each binding, in the same way."""
    return _send_at_once(address, client_id, partial(Sender.redeem, device_code=device_code), bindings)


#: What follows the logins of five rounds of a mix, in an order that is shuffled.
ACTIONS = ("refresh", "refresh", "refresh", "revoke", "none")

#: How long a mix may take beyond the time that it is given, in seconds: it is stuck then.
LIMIT = 300


def _mix(
    address: str, client_id: str, bindings: list[str | None], rounds: int, until: float, seed: int
) -> list[Event]:
    """Log in, refresh with the same token several times at once, and revoke, in a random order."""
    choose = random.Random(seed)
    senders = [Sender(address, client_id) for _ in range(3)]
    events: list[Event] = []
    actions: list[str] = []
    latest = max(until, time.monotonic()) + LIMIT
    with ThreadPoolExecutor(len(senders)) as pool:
        for number in itertools.count():
            if number >= rounds and time.monotonic() >= until:
                break
            if time.monotonic() > latest:
                raise TimeoutError(f"{number} rounds of {rounds}, {LIMIT} seconds after their time")
            actions = actions or choose.sample(ACTIONS, len(ACTIONS))
            action = actions.pop()
            binding = choose.choice(bindings)
            login = senders[0].login(binding)
            events.append(login)
            if login.status != 200:
                continue
            settle()
            token = login.data["refresh_token"]
            if action == "refresh":
                attempts = [pool.submit(sender.refresh, binding, token) for sender in senders]
                events += [attempt.result() for attempt in attempts]
            elif action == "revoke":
                events.append(senders[0].revoke(binding, choose.choice([token, login.access])))
    return events


def mix(
    address: str,
    client_ids: list[str],
    bindings: list[str | None],
    *,
    rounds: int,
    seed: int,
    seconds: float = 0,
) -> list[Event]:
    """Do all kinds of requests at once, from two processes per client.

    :param rounds: how often each process logs in and does something with what it gets; each five rounds it
        does everything.
    :param seconds: how long it goes on at least, where something else has to happen meanwhile.
    """
    until = time.monotonic() + seconds
    return in_processes(
        partial(_mix, address, client_id, bindings, rounds, until, seed + number)
        for number, client_id in enumerate(client_ids * 2)
    )
