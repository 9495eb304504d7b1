"""The official Python client of the Model Context Protocol, which finds, registers and authorizes on its own.

It knows nothing but the address of a server with tools: our API, behind access tokens.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp.types import TextContent
from pydantic import AnyUrl

from tests.clients.browser import Browser
from tests.helpers.browser import Example
from tests.helpers.client import REDIRECT_URI

pytestmark = pytest.mark.slow


class Storage:
    """What the client keeps between two starts."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Agent:
    """A program with the client, and the requests that it has made."""

    def __init__(self, site: Example, method: str) -> None:
        self.site = site
        self.browser = Browser(site.address)
        self.storage = Storage()
        self.requests: list[str] = []
        self.metadata = OAuthClientMetadata.model_validate(
            {
                "client_name": "An agent",
                "redirect_uris": [AnyUrl(REDIRECT_URI)],
                "token_endpoint_auth_method": method,
            }
        )
        self.start()

    def start(self) -> None:
        """Start the program: again, if it ran before."""
        self.provider = OAuthClientProvider(
            f"{self.site.address}/mcp",
            self.metadata.model_copy(),
            self.storage,
            redirect_handler=self._redirect,
            callback_handler=self._called_back,
        )

    async def call(self, tool: str) -> str:
        """Connect, and call a tool."""
        async with self._session() as session:
            result = await session.call_tool(tool, {})
            (content,) = result.content
            assert isinstance(content, TextContent)
            return content.text

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ClientSession]:
        async def note(response: httpx2.Response) -> None:
            request = response.request
            self.requests.append(f"{request.method} {request.url.path} {response.status_code}")

        async with (
            httpx2.AsyncClient(auth=self.provider, event_hooks={"response": [note]}, trust_env=False) as http,
            streamable_http_client(self.provider.context.server_url, http_client=http) as streams,
            ClientSession(*streams) as session,
        ):
            await session.initialize()
            yield session

    async def _redirect(self, url: str) -> None:
        self.location = await anyio.to_thread.run_sync(self.browser.authorize, url)

    async def _called_back(self) -> AuthorizationCodeResult:
        answer = {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}
        return AuthorizationCodeResult.model_validate(answer)


async def connects(agent: Agent) -> None:
    assert await agent.call("whoami") == "whoami: alice"


async def connects_again(agent: Agent) -> None:
    await connects(agent)
    agent.start()
    await connects(agent)


async def asks_for_more(agent: Agent) -> None:
    """A tool takes a scope that the token does not have."""
    assert await agent.call("rename") == "rename: alice"
    assert agent.storage.tokens is not None
    assert agent.storage.tokens.scope == "read write"


async def refreshes(agent: Agent) -> None:
    await connects(agent)
    agent.provider.context.token_expiry_time = time.time() - 1
    await connects(agent)


async def is_signed_out(agent: Agent) -> None:
    """The user signs the program out, and agrees again."""
    await connects(agent)
    assert agent.storage.tokens is not None
    assert agent.storage.client is not None
    form = {"token": agent.storage.tokens.access_token, "client_id": agent.storage.client.client_id}
    answer = agent.browser.session.post(f"{agent.site.address}/oauth2/revoke_token/", form)
    assert answer.status_code == 200
    await connects(agent)


TOOLS: Final = "POST /mcp"
TOKEN: Final = "POST /oauth2/token/ 200"

#: What is asked where nothing is known: of the API, and of the server that its metadata names.
DISCOVERY: Final = [
    f"{TOOLS} 401",
    "GET /.well-known/oauth-protected-resource/mcp 200",
    "GET /.well-known/oauth-authorization-server/oauth2 200",
]
REGISTRATION: Final = "POST /oauth2/register/ 201"

#: A session: it is initialized, and a tool is looked up and called.
SESSION: Final = [f"{TOOLS} 200", f"{TOOLS} 202", f"{TOOLS} 200", f"{TOOLS} 200"]

#: flow -> its steps, how the client authenticates itself, and its requests.
FLOWS: Final[dict[str, tuple[Callable[[Agent], Awaitable[None]], str, list[str]]]] = {
    "public": (connects, "none", [*DISCOVERY, REGISTRATION, TOKEN, *SESSION]),
    "client_secret_basic": (
        *(connects, "client_secret_basic"),
        [*DISCOVERY, REGISTRATION, TOKEN, *SESSION],
    ),
    "client_secret_post": (connects, "client_secret_post", [*DISCOVERY, REGISTRATION, TOKEN, *SESSION]),
    "again": (connects_again, "none", [*DISCOVERY, REGISTRATION, TOKEN, *SESSION, *SESSION]),
    "more scope": (
        *(asks_for_more, "none"),
        [*DISCOVERY, REGISTRATION, TOKEN, *SESSION[:2], f"{TOOLS} 403", TOKEN, *SESSION[2:]],
    ),
    "refresh": (refreshes, "none", [*DISCOVERY, REGISTRATION, TOKEN, *SESSION, TOKEN, *SESSION]),
    "signed out": (
        *(is_signed_out, "none"),
        [*DISCOVERY, REGISTRATION, TOKEN, *SESSION, *DISCOVERY, TOKEN, *SESSION],
    ),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_flow(site: Example, flow: str) -> None:
    steps, method, requests = FLOWS[flow]
    agent = Agent(site, method)

    anyio.run(steps, agent)

    assert agent.requests == requests
