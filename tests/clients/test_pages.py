"""A single-page application in Chromium, from another origin than the server, and the page of a thief.

The application is a public client with oauth4webapi. Its key is made by WebCrypto and kept where no script
reads it out. Its origin is among the application's; to the API, the site lets scripts of all origins.
"""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.clients.server.populate import CALLBACK
from tests.helpers.browser import PEOPLE, Example
from tests.helpers.chromium import CHROMIUM, running_chromium
from tests.helpers.servers import certificate_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]

#: Another origin, of which the server knows nothing.
THIEF: Final = "https://thief.example/thief.html"

#: The requests of scripts, as in ``test_npm.py``; what the browser asks before them is not among them.
TOKEN: Final = "POST /oauth2/token/"
API: Final = "GET /api/me/"


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pages(site: Example, node_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve the pages by HTTPS, with the library that they import; yield the port, for all names."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(Path(__file__).parent / "pages", folder, dirs_exist_ok=True)
    shutil.copytree(node_project / "node_modules/oauth4webapi/build", folder / "oauth4webapi")
    addresses = {"issuer": f"{site.address}/oauth2", "api": f"{site.address}/api/me/"}
    (folder / "config.json").write_text(json.dumps(addresses))
    certificate = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    certificate.write_bytes(certificate_for("app.example", "thief.example"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(pages: int) -> Iterator[Browser]:
    with running_chromium(f"--host-resolver-rules=MAP *.example 127.0.0.1:{pages}") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """The application in a fresh browser; no script of it may fail."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(CALLBACK)
    says(page, "Ready")
    yield page
    assert failures == []
    context.close()


def says(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_have_text(text)


def sign_in(page: Page) -> None:
    """Sign alice in, who agrees."""
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PEOPLE["alice"])
    page.get_by_role("button").click()
    page.get_by_role("button", name="Authorize").click()
    says(page, "Got a token of the type dpop")


def press(page: Page, button: str, text: str) -> None:
    page.get_by_role("button", name=button).click()
    says(page, text)


def noted_requests(page: Page, site: Example) -> list[str]:
    """Return a list of the requests to the server that scripts make from now on."""
    noted: list[str] = []

    def note(response: Response) -> None:
        request, address = response.request, urlsplit(response.url)
        if request.resource_type == "fetch" and response.url.startswith(site.address):
            noted.append(f"{request.method} {address.path} {response.status}")

    page.on("response", note)
    return noted


def test_signing_in_and_calling_the_api(page: Page, site: Example) -> None:
    requests = noted_requests(page, site)

    sign_in(page)
    press(page, "Call the API", "Hello, alice")

    assert [request for request in requests if ".well-known" not in request] == [
        *(f"{TOKEN} 400", f"{TOKEN} 200"),  # the nonce of the token endpoint
        f"{API} 200",
    ]


def test_after_the_page_was_loaded_again(page: Page, site: Example) -> None:
    """The key is the same; the nonces are not kept."""
    sign_in(page)
    page.reload()
    says(page, "Ready")
    requests = noted_requests(page, site)

    press(page, "Call the API", "Hello, alice")
    press(page, "Refresh", "Got a token of the type dpop")
    press(page, "Call the API", "Hello, alice")

    assert requests == [f"{API} 401", f"{API} 200", f"{TOKEN} 200", f"{API} 200"]


def test_no_script_reads_the_key_out(page: Page) -> None:
    exported = page.evaluate("""async () => {
        const { keyPair } = await import('./keys.js')
        const { privateKey } = await keyPair()
        return await crypto.subtle.exportKey('jwk', privateKey).catch((error) => error.name)
    }""")

    assert exported == "InvalidAccessError"


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        ("asBearer", [401, "bearer invalid_token"]),
        ("withAnotherKey", [401, "dpop invalid_token"]),
        # The browser asks the server before it sends a proof, and is not told that this page may send one.
        ("atTheTokenEndpoint", "Failed to fetch"),
    ],
)
def test_a_page_that_has_the_tokens_alone(page: Page, attempt: str, answer: Any) -> None:
    sign_in(page)
    stolen = page.evaluate("({ ...sessionStorage })")
    page.goto(THIEF)
    page.wait_for_function("window.attempts")

    assert page.evaluate(f"(stolen) => attempts.{attempt}(stolen)", stolen) == answer

    page.goto(CALLBACK)
    says(page, "Ready")
    press(page, "Call the API", "Hello, alice")
