"""Fetching from others over HTTP: it is over in time, whatever they do, and asks whom it has to ask."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.error import HTTPError

import pytest

from oauth_binding.core.jose import remote_document, timed_http
from tests.helpers.servers import FAILURES, certificate_for, send, serve

#: In seconds; a server drips a byte more often than that.
TIMEOUT = 0.3

#: When something has to be over that takes no longer than that, on a busy machine.
LIMIT = 5 * TIMEOUT


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the environment anew, which the opener does once."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    timed_http._get_opener.cache_clear()
    yield
    timed_http._get_opener.cache_clear()


def download(url: str, form: bytes | None = None) -> bytes:
    return remote_document.download(url, {}, form).body


@contextmanager
def little_time() -> Iterator[None]:
    """Give downloads little time, and check that they keep to it. What is answered has the usual time."""
    started = time.monotonic()
    with patch.object(remote_document, "TIMEOUT", TIMEOUT):
        yield
    assert time.monotonic() - started < LIMIT


@contextmanager
def assert_in_time() -> Iterator[None]:
    """Check that something is not had, and not waited for."""
    with little_time(), pytest.raises((OSError, HTTPException, ValueError)):
        yield


@contextmanager
def listen(behave: Callable[[socket.socket], Any]) -> Iterator[tuple[int, list[int]]]:
    """Take connections on a free port, and yield it with a list that has an item for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[int] = []

    def run() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            taken.append(1)
            with connection, suppress(OSError):  # the client had enough
                behave(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def drip(*parts: bytes) -> Callable[[socket.socket], None]:
    """Return a behaviour: a byte every twentieth of a second, for longer than any client waits."""

    def behave(connection: socket.socket) -> None:
        for _ in range(20):
            for byte in b"".join(parts):
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

    return behave


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a certificate for localhost, with its key, that is trusted."""
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate_for("localhost"))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def speak_tls(certificate: Path, answer: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65_536)
            answer(secured)

    return behave


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("form", [None, b"token=x"])
def test_a_server_in_trouble(failure: Callable[[BaseHTTPRequestHandler], None], form: bytes | None) -> None:
    def read_and_fail(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        failure(handler)

    # Nonsense is for others to find.
    with serve(read_and_fail) as url, little_time(), suppress(OSError, HTTPException, ValueError):
        download(url, form)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((b"HTTP/1.1 200 " + b"O" * 40,), id="status line"),
        pytest.param((b"X: y\r\n",), id="status line that is none"),
    ],
)
def test_a_server_that_drips(parts: tuple[bytes, ...]) -> None:
    with listen(drip(*parts)) as (port, _taken), assert_in_time():
        download(f"http://127.0.0.1:{port}/")


def test_a_server_that_says_nothing() -> None:
    released = threading.Event()
    with (
        listen(lambda connection: [connection.recv(1000), released.wait(2)]) as (port, _taken),
        assert_in_time(),
    ):
        download(f"http://127.0.0.1:{port}/")


def test_a_server_that_takes_nothing() -> None:
    """More is sent to it than its machine keeps for it."""
    with listen(lambda connection: time.sleep(2)) as (port, _taken), assert_in_time():
        download(f"http://127.0.0.1:{port}/", b"x" * 50_000_000)


def test_a_redirect_that_drips() -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n")
        drip(b"X: y\r\n")(handler.connection)

    with serve(redirect) as url, assert_in_time():
        download(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with listen(lambda connection: None) as (port, taken):
        target = f"http://127.0.0.1:{port}/"
        with (
            serve(lambda handler: send(handler, b"", status, Location=target)) as url,
            pytest.raises(HTTPError),
        ):
            download(url)
        assert taken == []


# TLS


def test_https(certificate: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with listen(speak_tls(certificate, lambda secured: secured.sendall(answer))) as (port, _taken):
        assert download(f"https://localhost:{port}/") == b"hi"


def test_a_certificate_that_is_not_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with (
        listen(speak_tls(certificate, lambda secured: None)) as (port, _taken),
        pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        download(f"https://localhost:{port}/")


def test_a_certificate_of_another_host(certificate: Path) -> None:
    with (
        listen(speak_tls(certificate, lambda secured: None)) as (port, _taken),
        pytest.raises(OSError, match="IP address mismatch"),
    ):
        download(f"https://127.0.0.1:{port}/")


def test_a_handshake_that_does_not_begin() -> None:
    with listen(lambda connection: time.sleep(2)) as (port, _taken), assert_in_time():
        download(f"https://localhost:{port}/")


def test_a_handshake_that_drips() -> None:
    """A record of TLS is announced as long, and comes byte by byte."""
    record = b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc"
    with listen(drip(record)) as (port, _taken), assert_in_time():
        download(f"https://localhost:{port}/")


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OOO", b"HTTP/1.1 200 OK\r\nX: y\r\nX: y\r\n"])
def test_a_server_that_drips_over_tls(certificate: Path, text: bytes) -> None:
    with listen(speak_tls(certificate, drip(text))) as (port, _taken), assert_in_time():
        download(f"https://localhost:{port}/")


# Names and addresses


def test_a_name_that_is_not_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up(*args: Any, **kwargs: Any) -> Any:
        released.wait(5)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with assert_in_time():
            download("https://api.example/")
    finally:
        released.set()


def test_a_name_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with pytest.raises(OSError, match="Name or service not known"):
        download("https://api.example/")


@contextmanager
def unanswered() -> Iterator[int]:
    """Yield a port that takes no more connections, and refuses none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        time.sleep(0.05)
        try:
            yield address[1]
        finally:
            for client in waiting:
                client.close()


def addresses(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let each name have some addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)


def test_addresses_that_do_not_answer_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with unanswered() as port:
        addresses(monkeypatch, *[port] * 8)
        with assert_in_time():
            download("http://localhost/")


def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with unanswered() as port, serve(lambda handler: send(handler, b"hi")) as url:
        addresses(monkeypatch, port, int(url.rpartition(":")[2]))
        assert download("http://localhost/") == b"hi"


# Proxies


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_machine_itself_is_not_asked_of_a_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    with (
        listen(lambda connection: None) as (port, taken),
        serve(lambda handler: send(handler, b"hi")) as url,
    ):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert download(url.replace("127.0.0.1", host)) == b"hi"
        assert taken == []


def test_an_https_server_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    with listen(lambda connection: heard.append(connection.recv(1000))) as (port, _taken):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with assert_in_time():
            download("https://api.example/keys")

    assert heard[0].startswith(b"CONNECT api.example:443 ")


def test_a_proxy_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen(drip(b"HTTP/1.1 200 OK\r\nX: y\r\nX: y\r\n")) as (port, _taken):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with assert_in_time():
            download("https://api.example/")


def test_a_host_that_the_environment_excepts_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen(lambda connection: None) as (port, taken):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "api.example")
        addresses(monkeypatch, 9)
        with pytest.raises(OSError, match="refused"):
            download("https://api.example/")
        assert taken == []
