"""Strict clients from npm's registry, against the site behind a socket.

They validate all that a server answers. Each runs its flows in one process, and says which requests it has
made. A flow passes where it made those of its list, and was answered as the list says.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.server.populate import SECRET
from tests.helpers.browser import PEOPLE, Example
from tests.helpers.client import REDIRECT_URI

pytestmark = pytest.mark.slow

TOKEN: Final = "POST /oauth2/token/"
DEVICE: Final = "POST /oauth2/device-authorization/"
INTROSPECT: Final = "POST /oauth2/introspect/"
REVOKE: Final = "POST /oauth2/revoke_token/"
REGISTER: Final = "POST /oauth2/register/"
USERINFO: Final = "GET /oauth2/userinfo/"
KEYS: Final = "GET /oauth2/.well-known/jwks.json"
OPENID_CONFIGURATION: Final = "GET /oauth2/.well-known/openid-configuration"
METADATA: Final = "GET /.well-known/oauth-authorization-server/oauth2"
API: Final = "GET /api/me/"

#: The client proves its key without the server's nonce, and again with it.
NONCE: Final = [f"{TOKEN} 400", f"{TOKEN} 200"]

#: The program of a client -> its flows -> the requests of each. What a browser does is none of the client's.
FLOWS: Final[dict[str, dict[str, list[str]]]] = {
    "oauth4webapi": {
        "discovery_rfc8414": [f"{METADATA} 200"],
        "discovery_oidc": [f"{OPENID_CONFIGURATION} 200"],
        "authorization_code": [f"{TOKEN} 200", f"{KEYS} 200", f"{USERINFO} 200", f"{API} 200"],
        "same_device": [f"{TOKEN} 200"] * 3,
        "jwt_access_token": [f"{TOKEN} 200", f"{API} 200"],
        "refresh": [*[f"{TOKEN} 200"] * 2, f"{API} 401", f"{API} 200", f"{TOKEN} 400"],
        "refresh_with_id_token": [f"{TOKEN} 200"] * 2,
        "client_credentials": [f"{TOKEN} 200"] * 2,
        "empty_scope": [f"{TOKEN} 200"],
        "wrong_secret": [*[f"{TOKEN} 401"] * 2, *[f"{INTROSPECT} 401"] * 2, *[f"{REVOKE} 401"] * 2],
        "unknown_client": [f"{TOKEN} 401"] * 2,
        "token_errors": [*[f"{TOKEN} 400"] * 4, f"{TOKEN} 200", f"{TOKEN} 400"],
        "authorization_errors": [],
        "device_grant": [
            f"{DEVICE} 200",
            *[f"{TOKEN} 400"] * 2,
            f"{TOKEN} 200",
            f"{API} 200",
            f"{TOKEN} 400",
        ],
        "device_denied": [f"{DEVICE} 200", *[f"{TOKEN} 400"] * 2, f"{DEVICE} 400"],
        "introspection": [f"{TOKEN} 200", *[f"{INTROSPECT} 200"] * 5],
        "revocation": [
            *(f"{TOKEN} 200", f"{REVOKE} 200", f"{API} 401"),
            *(f"{TOKEN} 200", f"{REVOKE} 200", f"{INTROSPECT} 200", f"{REVOKE} 200"),
        ],
        "registration": [*[f"{REGISTER} 201", f"{TOKEN} 200"] * 3, f"{REGISTER} 400"],
        "userinfo_errors": [f"{USERINFO} 401", f"{TOKEN} 200", f"{USERINFO} 403"],
        "api_errors": [f"{API} 401", f"{TOKEN} 200", f"{API} 403"],
        "protected_resource_metadata": [
            *(f"{API} 401", "GET /.well-known/oauth-protected-resource/api/me/ 200"),
            *("GET /mcp 401", "GET /.well-known/oauth-protected-resource/mcp 200"),
        ],
        "token_exchange": [*[f"{TOKEN} 200"] * 2, f"{INTROSPECT} 200", f"{TOKEN} 400"],
        "dpop_authorization_code": [*NONCE, f"{USERINFO} 200", f"{API} 200"],
        "dpop_code_of_another_key": [*[f"{TOKEN} 400"] * 2, *NONCE],
        "dpop_without_a_proof": [f"{TOKEN} 400"],
        "dpop_refresh": [
            *(*NONCE, *[f"{TOKEN} 400"] * 2),
            *(f"{TOKEN} 200", f"{API} 401", f"{API} 200"),
        ],
        "dpop_nonce_of_an_api": [
            *(*NONCE, f"{API} 401", f"{API} 200"),
            *(f"{USERINFO} 401", f"{USERINFO} 200"),
        ],
        "dpop_stolen_token": [
            *(*NONCE, f"{API} 401", "GET /mcp 401", f"{USERINFO} 401"),
            *[f"{API} 401"] * 2,
        ],
        "dpop_jwt_access_token": [*NONCE, f"{API} 200"],
        "dpop_introspection": [*NONCE, f"{INTROSPECT} 200"],
        "dpop_client_credentials": NONCE * 3,
        "dpop_not_asked_for": [f"{TOKEN} 200"],
        "dpop_registration": [f"{REGISTER} 201", *NONCE, f"{TOKEN} 400"],
        "dpop_metadata": ["GET /.well-known/oauth-protected-resource/api/me/ 200"],
    },
    "openid_client": {
        "discovery": [f"{OPENID_CONFIGURATION} 200", f"{METADATA} 200"],
        "log_in": [f"{TOKEN} 200", f"{KEYS} 200", f"{USERINFO} 200", f"{API} 200"],
        "same_device": [f"{TOKEN} 200"] * 3,
        "refresh": [f"{TOKEN} 200", f"{KEYS} 200", f"{TOKEN} 200", f"{API} 401", f"{API} 200"],
        "refused_by_the_user": [],
        "prompt_none": [],
        "client_credentials": [f"{TOKEN} 200"] * 2,
        "wrong_secret": [f"{TOKEN} 401", f"{INTROSPECT} 401", f"{REVOKE} 401"],
        "device_grant": [f"{DEVICE} 200", f"{TOKEN} 400", f"{TOKEN} 200", f"{API} 200"],
        "device_denied": [f"{DEVICE} 200", f"{TOKEN} 400"],
        "introspection_and_revocation": [
            *(f"{TOKEN} 200", f"{INTROSPECT} 200", f"{REVOKE} 200", f"{INTROSPECT} 200", f"{API} 401"),
        ],
        "registration": [f"{OPENID_CONFIGURATION} 200", f"{REGISTER} 201", f"{TOKEN} 200"],
        "token_exchange": [*[f"{TOKEN} 200"] * 2, f"{INTROSPECT} 200"],
        "dpop_log_in": [*NONCE, f"{KEYS} 200", f"{USERINFO} 200", f"{API} 200"],
        "dpop_refresh": [*NONCE, f"{TOKEN} 200", f"{API} 401", f"{API} 200"],
        "dpop_nonce_of_an_api": [*NONCE, f"{API} 401", f"{API} 200"],
        "dpop_client_credentials": [*NONCE, f"{TOKEN} 200"],
        "dpop_device_grant": [f"{DEVICE} 200", *NONCE, f"{API} 200"],
        "log_out": [f"{TOKEN} 200"],
    },
}

#: What the programs do not take longer for, in seconds.
TIMEOUT: Final = 120


@pytest.fixture(scope="session")
def reports(node_project: Path, site: Example) -> Callable[[str], dict[str, dict[str, Any]]]:
    """Return what tells by flow what a client has printed; it runs once."""
    arguments = {
        "address": site.address,
        "redirectUri": REDIRECT_URI,
        "secret": SECRET,
        "username": "alice",
        "password": PEOPLE["alice"],
    }

    @functools.cache
    def run(client: str) -> dict[str, dict[str, Any]]:
        command = ["node", f"{client}.mjs", json.dumps(arguments)]
        ran = subprocess.run(command, cwd=node_project, capture_output=True, text=True, timeout=TIMEOUT)
        assert ran.returncode == 0, ran.stderr
        printed = [json.loads(line) for line in ran.stdout.splitlines()]
        return {report["flow"]: report for report in printed}

    return run


@pytest.mark.parametrize("client", FLOWS)
def test_all_flows_are_listed(client: str, reports: Callable[[str], dict[str, Any]]) -> None:
    assert list(reports(client)) == list(FLOWS[client])


@pytest.mark.parametrize(
    ("client", "flow"), [(client, flow) for client, flows in FLOWS.items() for flow in flows]
)
def test_flow(client: str, flow: str, reports: Callable[[str], dict[str, Any]]) -> None:
    report = reports(client)[flow]

    assert report["error"] is None, report["error"]
    assert report["requests"] == FLOWS[client][flow]
