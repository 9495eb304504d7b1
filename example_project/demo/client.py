"""A client application that speaks OAuth to a server, and says how curl would."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from example_project.demo.accounts import Credentials
from example_project.demo.device_key import DeviceKey

#: How long an answer may take, in seconds.
TIMEOUT = 30

_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Exchange:
    """A request that was sent, as a curl line, and what was answered."""

    curl: str
    status: int
    #: The answer's JSON object; empty where it has none.
    data: dict[str, Any]
    #: The code of an error, from the body or the challenge (RFC 6750 section 3.1); empty where there is none.
    error: str
    #: The proof that was sent (RFC 9449 section 4); empty where none was.
    proof: str
    #: The nonce for the next proof (RFC 9449 section 8); empty where none was given.
    nonce: str


class Client:
    """Sends a client application's requests.

    Every method raises ``requests.RequestException`` where no answer comes.
    """

    #: What proves token requests and API calls (RFC 9449); without a key, tokens are bearer tokens.
    key: DeviceKey | None = None

    def __init__(self, address: str, application: Credentials, user: Credentials) -> None:
        """
        :param address: of the server, without a trailing slash.
        :param application: authenticates the client.
        :param user: the resource owner.
        """
        self._address = address
        self._application = application
        self._user = user

    def request_token(self, binding_id: str | None) -> Exchange:
        """Send a password grant (RFC 6749 section 4.3), with a ``tokenBindingId`` or without one."""
        form = {"grant_type": "password", "username": self._user.name, "password": self._user.password}
        return self._post("token", _bound(form, binding_id))

    def refresh(self, refresh_token: str, binding_id: str | None = None) -> Exchange:
        """Send a refresh (RFC 6749 section 6), with a ``tokenBindingId`` or without one."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._post("token", _bound(form, binding_id))

    def exchange_token(self, subject_token: str, binding_id: str) -> Exchange:
        """Exchange another client's access token (RFC 8693), with a ``tokenBindingId``."""
        form = {
            "grant_type": _TOKEN_EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": _ACCESS_TOKEN,
        }
        return self._post("token", _bound(form, binding_id))

    def introspect(self, token: str) -> Exchange:
        """Ask whether an access or refresh token is active (RFC 7662)."""
        return self._post("introspect", {"token": token})

    def revoke(self, token: str) -> Exchange:
        """Revoke an access or refresh token (RFC 7009)."""
        return self._post("revoke_token", {"token": token})

    def call_api(
        self,
        access_token: str,
        url: str = "",
        binding_id: str | None = None,
        *,
        proof: str = "",
        nonce: str = "",
    ) -> Exchange:
        """Call a protected API with an access token (RFC 6750, or RFC 9449 section 7 with a proof).

        :param url: that of the API; by default the server's own.
        :param binding_id: what to name as that which the token is bound to.
        :param proof: sent in place of one by the client's own key.
        :param nonce: for a proof by the client's own key.
        """
        url = url or f"{self._address}/api/me/"
        proof = proof or self._prove("GET", url, access_token, nonce)
        headers = {"Authorization": f"{'DPoP' if proof else 'Bearer'} {access_token}"}
        if binding_id is not None:
            headers["Token-Binding-Id"] = binding_id
        if proof:
            headers["DPoP"] = proof
        return _exchange(f"curl {_options(headers)} {url}", _send("GET", url, headers=headers), proof)

    def _post(self, endpoint: str, form: dict[str, str]) -> Exchange:
        url = f"{self._address}/oauth2/{endpoint}"
        body = urlencode(form)
        headers = {"Content-Type": _FORM}
        proof = self._prove("POST", url) if endpoint == "token" else ""
        if proof:
            headers["DPoP"] = proof
        authentication = (self._application.name, self._application.password)
        response = _send("POST", url, data=body, auth=authentication, headers=headers)
        curl = f'curl -X POST -u "{":".join(authentication)}" {_options(headers)} -d "{body}" {url}'
        return _exchange(curl, response, proof)

    def _prove(self, method: str, url: str, access_token: str = "", nonce: str = "") -> str:
        if self.key is None:
            return ""
        return self.key.prove(method, url, access_token=access_token, nonce=nonce)


def _options(headers: dict[str, str]) -> str:
    return " ".join(f'-H "{name}: {value}"' for name, value in headers.items())


def _bound(form: dict[str, str], binding_id: str | None) -> dict[str, str]:
    return form if binding_id is None else {**form, "tokenBindingId": binding_id}


def _send(method: str, url: str, **request: Any) -> requests.Response:
    # A connection for each request: on one that is kept, every answer of Django's server is 40 ms late, as it
    # goes out in two packets.
    with requests.Session() as http:
        # No proxy and no .netrc: the server is on this machine.
        http.trust_env = False
        return http.request(method, url, timeout=TIMEOUT, **request)


def _exchange(curl: str, response: requests.Response, proof: str) -> Exchange:
    try:
        data = response.json()
    except requests.JSONDecodeError:
        data = {}
    challenged = re.search(r'\berror="(\w+)"', response.headers.get("WWW-Authenticate", ""))
    return Exchange(
        curl,
        response.status_code,
        data,
        error=data.get("error") or (challenged[1] if challenged else ""),
        proof=proof,
        nonce=response.headers.get("DPoP-Nonce", ""),
    )
