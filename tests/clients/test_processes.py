"""requests_oauth2client, with a key, against a site with several processes.

They share what they know of the proofs that they have taken: in Redis, or in a table.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
import requests
from requests_oauth2client import DPoPKey, DPoPToken, InvalidGrant, OAuth2Client

from tests.clients.browser import Browser
from tests.clients.server.environment import site_environment
from tests.clients.server.populate import SECRET
from tests.clients.server.processes import PROCESS
from tests.helpers.browser import PEOPLE
from tests.helpers.client import REDIRECT_URI
from tests.helpers.redis_server import PROGRAM, redis_server

pytestmark = pytest.mark.slow

PROCESSES: Final = 4

#: How many requests are sent at once, and how often, until every process has answered one.
AT_ONCE: Final = 16
ROUNDS: Final = 50


_NEEDS_REDIS: Final = pytest.mark.skipif(PROGRAM is None, reason="no redis-server is installed")


@pytest.fixture(scope="module", params=[pytest.param("redis", marks=_NEEDS_REDIS), "table"])
def address(
    request: pytest.FixtureRequest, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("site")
    own = shutil.copy(database, directory)
    with ExitStack() as stack:
        variables = {}
        if request.param == "redis":
            variables["CLIENTS_REDIS"] = stack.enter_context(redis_server()).url
        stack.enter_context(site_environment(Path(own), **variables))
        yield stack.enter_context(serve_with_processes(directory))


@contextmanager
def serve_with_processes(directory: Path) -> Iterator[str]:
    """Serve the site of the environment, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The processes take the connections of this socket, so that no other program gets its port meanwhile.
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "example_project.wsgi:application"]
        command += ["--bind", f"fd://{listener.fileno()}", "--workers", str(PROCESSES), "--preload"]
        log = directory / "gunicorn.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, pass_fds=[listener.fileno()], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def make_client(address: str, session: requests.Session, client_id: str, secret: str | None) -> OAuth2Client:
    return OAuth2Client(
        f"{address}/oauth2/token/",
        authorization_endpoint=f"{address}/oauth2/authorize/",
        userinfo_endpoint=f"{address}/oauth2/userinfo/",
        introspection_endpoint=f"{address}/oauth2/introspect/",
        redirect_uri=REDIRECT_URI,
        client_id=client_id,
        client_secret=secret,
        dpop_bound_access_tokens=True,
        session=session,
        testing=True,  # without TLS
    )


@pytest.fixture
def backend(address: str, session: requests.Session) -> OAuth2Client:
    return make_client(address, session, "keyed-backend", SECRET)


@pytest.fixture
def api(address: str) -> str:
    return f"{address}/api/me/"


def log_in(backend: OAuth2Client) -> DPoPToken:
    return proven(backend.resource_owner_password("alice", PEOPLE["alice"], scope="read"))


def proven(token: object) -> DPoPToken:
    assert isinstance(token, DPoPToken)
    assert token.token_type == "DPoP"
    return token


def test_client_credentials(backend: OAuth2Client) -> None:
    token = proven(backend.client_credentials(scope="read"))

    assert token.dpop_key.as_nonce
    found = backend.introspect_token(token)
    assert (found["token_type"], found["cnf"]) == ("DPoP", {"jkt": token.dpop_key.dpop_jkt})


def test_calling_an_api(backend: OAuth2Client, session: requests.Session, api: str) -> None:
    token = log_in(backend)

    answers = [session.get(api, auth=token) for _ in range(2 * PROCESSES)]

    assert token.dpop_key.rs_nonce  # of one of the processes, and good for all
    assert [answer.json() for answer in answers] == [{"username": "alice"}] * len(answers)


def test_refresh(backend: OAuth2Client, session: requests.Session, api: str) -> None:
    token = log_in(backend)

    refreshed = proven(backend.refresh_token(token))

    assert refreshed.dpop_key is token.dpop_key
    assert session.get(api, auth=refreshed).json() == {"username": "alice"}
    assert backend.introspect_token(token)["active"] is False


def test_a_code_for_a_key(address: str, session: requests.Session, api: str) -> None:
    mobile = make_client(address, session, "keyed-mobile", None)
    request = mobile.authorization_request(scope="openid read")
    assert request.dpop_key is not None
    assert f"dpop_jkt={request.dpop_key.dpop_jkt}" in request.uri
    answer = request.validate_callback(Browser(address).authorize(request.uri))

    with pytest.raises(InvalidGrant):
        mobile.authorization_code(
            answer.code, dpop_key=DPoPKey.generate(), code_verifier=answer.code_verifier
        )
    token = proven(mobile.authorization_code(answer, validate=False))

    assert session.get(api, auth=token).json() == {"username": "alice"}
    assert mobile.userinfo(token)["sub"]


def test_a_proof_is_taken_by_one_process_once(backend: OAuth2Client, api: str) -> None:
    token = log_in(backend)
    requests.get(api, auth=token).raise_for_status()
    digest = hashlib.sha256(token.access_token.encode()).digest()
    ath = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    proof = str(token.dpop_key.proof("GET", api, ath))
    headers = {"Authorization": f"DPoP {token.access_token}", "DPoP": proof}

    processes, statuses = set(), []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            for answer in pool.map(lambda _: requests.get(api, headers=headers), range(AT_ONCE)):
                processes.add(answer.headers[PROCESS])
                statuses.append(answer.status_code)
            if len(processes) == PROCESSES:
                break

    assert len(processes) == PROCESSES
    assert Counter(statuses) == {200: 1, 401: len(statuses) - 1}
