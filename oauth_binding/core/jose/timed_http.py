"""HTTP requests that end in time as a whole, whatever the server does.

The time-out of Python's sockets is for each piece alone: a server that sends a byte now and then, of a header
or of a handshake, would hold a thread for ever.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from oauth_binding.core.setting_rules import is_loopback

#: When the request at hand has to be over, on the clock of :func:`time.monotonic`.
_deadline: ContextVar[float] = ContextVar("oauth_binding_deadline")


def _remaining() -> float:
    """Return how many seconds the request at hand has left.

    :raises TimeoutError: none.
    """
    seconds = _deadline.get() - monotonic()
    if seconds <= 0:
        raise TimeoutError("it takes too long")
    return seconds


class _InTime:
    """Lets each piece that a socket receives or sends wait for as long only as the request has left."""

    def recv_into(self, *args: Any) -> int:
        self.settimeout(_remaining())  # type: ignore[attr-defined]
        return super().recv_into(*args)  # type: ignore[misc, no-any-return]

    def sendall(self, *args: Any) -> None:
        self.settimeout(_remaining())  # type: ignore[attr-defined]
        super().sendall(*args)  # type: ignore[misc]

    def send(self, *args: Any) -> int:
        self.settimeout(_remaining())  # type: ignore[attr-defined]
        return super().send(*args)  # type: ignore[misc, no-any-return]


class _Socket(_InTime, socket.socket):
    pass


class _TLSSocket(_InTime, ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_remaining())
        super().do_handshake(block)


def _look_up(host: str, port: int) -> list[Any]:
    """Return the addresses of a host.

    :raises OSError: there are none, or not in time. The resolver can't be told how long it may take; it is
        left to a thread that ends when it gives up.
    """
    future: Future[list[Any]] = Future()

    def run() -> None:
        try:
            future.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(_remaining())


def _connect(address: tuple[str, int], *args: Any) -> socket.socket:
    """Return a connection to the first address of a host that takes one: :func:`socket.create_connection`.

    An address that does not answer leaves time for those after it.
    """
    problem = OSError("it has no address")
    found = _look_up(*address)
    for index, (family, kind, protocol, _name, resolved) in enumerate(found):
        connection = _Socket(family, kind, protocol)
        try:
            connection.settimeout(_remaining() / (len(found) - index))
            connection.connect(resolved)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    raise problem


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _TLSConnection(HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _HTTP(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _HTTPS(HTTPSHandler):
    def __init__(self) -> None:
        # Kept, as it takes long to load the certificates that are trusted.
        self.context = ssl.create_default_context()
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.sslsocket_class = _TLSSocket
        super().__init__(context=self.context)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_TLSConnection, request, context=self.context)


class _Proxies(ProxyHandler):
    """The proxies of the environment; but what is on the machine itself is never asked of another."""

    def proxy_open(self, request: Request, proxy: str, type: str) -> Any:
        if is_loopback(urlsplit(request.full_url).hostname or ""):
            return None
        return super().proxy_open(request, proxy, type)


class _NoRedirects(HTTPRedirectHandler):
    """Only the address that is configured is asked."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@functools.cache
def _get_opener() -> OpenerDirector:
    return build_opener(_HTTP, _HTTPS, _Proxies, _NoRedirects)


@contextmanager
def open_in_time(request: Request, seconds: float) -> Iterator[HTTPResponse]:
    """Enter with the answer to a request. Redirects are not followed.

    :param request: to an http or https URL.
    :param seconds: how long all of it may take, with reading the answer.
    :raises urllib.error.HTTPError: the server has answered with another status than 2xx.
    :raises OSError, HTTPException: there is no answer, or not in time; also while it is read.
    """
    previous = _deadline.set(monotonic() + seconds)
    try:
        with _get_opener().open(request, timeout=seconds) as response:
            yield response
    finally:
        _deadline.reset(previous)
