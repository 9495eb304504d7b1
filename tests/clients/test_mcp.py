"""The official Python client of the Model Context Protocol, which finds, registers and authorizes on its own.

It knows nothing but the address of a server with tools: our API, behind access tokens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

    def __init__(self, site: Example, method: str = "none") -> None:
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


async def connects(site: Example) -> Agent:
    agent = Agent(site)
    assert await agent.call("whoami") == "whoami: alice"
    return agent


FLOWS: dict[str, tuple[Callable[[Example], Awaitable[Agent]], list[str]]] = {
    "connects": (connects, []),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_flow(site: Example, flow: str) -> None:
    steps, requests = FLOWS[flow]

    agent = anyio.run(steps, site)

    assert agent.requests == requests
