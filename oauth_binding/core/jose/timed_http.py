"""HTTP requests that end in time as a whole, whatever the server does.

The time-out of Python's sockets is for each single read or write: a server that sends a byte of a header or a
handshake now and then would hold a thread for ever.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
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

#: When the current request has to be over, on the clock of ``time.monotonic``.
_deadline: ContextVar[float] = ContextVar("oauth_binding_deadline")

#: Whether the current request may connect to an address; None if it may connect to any.
_allows: ContextVar[Callable[[str], bool] | None] = ContextVar("oauth_binding_allows", default=None)


class AddressNotAllowedError(OSError):
    """A host has no address that may be connected to."""


def _remaining() -> float:
    """Return how many seconds the current request has left.

    :raises TimeoutError: there are none left.
    """
    seconds = _deadline.get() - monotonic()
    if seconds <= 0:
        raise TimeoutError("it takes too long")
    return seconds


class _InTime:
    """Lets each read or write of a socket wait only as long as the request has left."""

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

    :raises OSError: there are none, or not in time. The resolver can't be told how long it may take, so it
        runs in a thread that ends when the resolver gives up.
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
    """Return a connection to the first address of a host that takes one: ``socket.create_connection``.

    An address that does not answer leaves time for those after it.
    """
    problem = OSError("it has no address")
    found = _allowed(_look_up(*address))
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


def _allowed(found: list[Any]) -> list[Any]:
    """Return the addresses that may be connected to: as addresses, so that no name is looked up again.

    :raises AddressNotAllowedError: there are none.
    """
    allows = _allows.get()
    if allows is None:
        return found
    allowed = [each for each in found if allows(each[4][0])]
    if not allowed:
        raise AddressNotAllowedError("it has no address that may be connected to")
    return allowed


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
        # Kept, because loading the trusted certificates takes long.
        self.context = ssl.create_default_context()
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.sslsocket_class = _TLSSocket
        super().__init__(context=self.context)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_TLSConnection, request, context=self.context)


class _Proxies(ProxyHandler):
    """The proxies of the environment; but requests to the machine itself never go through one."""

    def proxy_open(self, request: Request, proxy: str, type: str) -> Any:
        if is_loopback(urlsplit(request.full_url).hostname or ""):
            return None
        return super().proxy_open(request, proxy, type)


class _NoProxies(ProxyHandler):
    """None: a proxy would look a name up itself, and connect to whatever it finds."""

    def __init__(self) -> None:
        super().__init__({})


class _NoRedirects(HTTPRedirectHandler):
    """Only the configured address is asked."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@functools.cache
def _get_opener(proxies: type[ProxyHandler] = _Proxies) -> OpenerDirector:
    return build_opener(_HTTP, _HTTPS, proxies, _NoRedirects)


@contextmanager
def open_in_time(
    request: Request, seconds: float, allows: Callable[[str], bool] | None = None
) -> Iterator[HTTPResponse]:
    """Enter with the answer to a request. Redirects are not followed.

    :param request: to an http or https URL.
    :param seconds: how long all of it may take, including reading the answer.
    :param allows: whether an address may be connected to, for a URL that somebody else has chosen: it is
        called with the addresses that the host turns out to have. The proxies of the environment are then not
        used.
    :raises urllib.error.HTTPError: the server has answered with another status than 2xx. :raises OSError,
        HTTPException: there is no answer, or not in time; also while it is read.
    """
    opener = _get_opener() if allows is None else _get_opener(_NoProxies)
    previous = _deadline.set(monotonic() + seconds)
    previous_allows = _allows.set(allows)
    try:
        with opener.open(request, timeout=seconds) as response:
            yield response
    finally:
        _allows.reset(previous_allows)
        _deadline.reset(previous)
