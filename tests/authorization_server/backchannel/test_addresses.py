"""No logout token, and no other byte, goes to an address inside the network that the site has not allowed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User

from oauth_binding.core.jose import timed_http
from oauth_binding.models import LogoutNotification
from tests.helpers.client import set_policy
from tests.helpers.logouts import RelyingParty, log_out, send_logouts, wait_for_next_attempt
from tests.helpers.servers import send, serve

REFUSED = "it has no address that may be connected to"


@pytest.fixture(autouse=True)
def _outside_alone(settings: Any, _on_this_machine: None) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "BACKCHANNEL_LOGOUT_NETWORKS": []}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket on this machine, at any of its addresses, that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def assert_untouched(listener: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        listener.accept()


def only_failure() -> str:
    return LogoutNotification.objects.get().failure


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_however_it_is_written(
    told: Any, user: User, listener: socket.socket, scheme: str, host: str
) -> None:
    port = listener.getsockname()[1]
    # As who writes to the table without the form can.
    set_policy(told, backchannel_logout_uri=f"{scheme}://{host}:{port}/logout")
    log_out(user, [told])

    assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert only_failure() == REFUSED
    assert_untouched(listener)


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "[fd00::1]", "[fe80::1]", "100.64.0.1"])
def test_addresses_that_are_nobodys_here(told: Any, user: User, address: str) -> None:
    set_policy(told, backchannel_logout_uri=f"http://{address}/logout")
    log_out(user, [told])

    send_logouts()

    assert only_failure() == REFUSED


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher"])
def test_no_other_scheme_gets_around_it(told: Any, user: User, listener: socket.socket, scheme: str) -> None:
    port = listener.getsockname()[1]
    set_policy(told, backchannel_logout_uri=f"{scheme}://127.0.0.1:{port}/etc/passwd")
    log_out(user, [told])

    assert send_logouts() == "0 logout tokens delivered, 1 failed, 1 left."

    assert only_failure() == "its address is neither http nor https"
    assert_untouched(listener)


def test_a_redirect_leads_nowhere(told: Any, user: User, listener: socket.socket, settings: Any) -> None:
    """The application itself is allowed, and what it redirects to is not."""
    port = listener.getsockname()[1]

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", 307, Location=f"http://127.0.0.1:{port}/")

    with serve(redirect) as address:
        settings.OAUTH_BINDING = {
            **settings.OAUTH_BINDING,
            "BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.0/8"],
        }
        set_policy(told, backchannel_logout_uri=f"{address}/logout")
        log_out(user, [told])
        send_logouts()

    assert only_failure() == "it answered with status 307"
    assert_untouched(listener)


class Names:
    """A resolver whose answers for one name change with each question; it asks the real one for others."""

    def __init__(self, name: str, *answers: list[str]) -> None:
        self.name = name
        self.answers = list(answers)
        self.real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != self.name:
            return self.real(host, port, *args, **kwargs)
        found = self.answers.pop(0)
        return [each for address in found for each in self.real(address, port, type=socket.SOCK_STREAM)]


def test_a_name_that_changes_between_looking_and_connecting(
    told: Any, user: User, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is connected to is the address that was looked at: nobody asks for the name once more."""
    names = Names("rebinding.example", ["192.0.2.1"], ["127.0.0.1"], ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    asked, connected = [], []

    def allows(address: str, networks: Any) -> bool:
        asked.append(address)
        return True

    def connect(connection: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise OSError("there is nobody")

    monkeypatch.setattr("oauth_binding.authorization_server.backchannel.post.is_allowed", allows)
    monkeypatch.setattr(timed_http._Socket, "connect", connect)
    port = listener.getsockname()[1]
    set_policy(told, backchannel_logout_uri=f"http://rebinding.example:{port}/logout")
    log_out(user, [told])

    send_logouts()

    assert asked == connected == ["192.0.2.1"]
    assert len(names.answers) == 2


def test_a_name_is_looked_at_anew_in_each_attempt(
    told: Any, user: User, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was outside when the client registered, and it is inside when it is sent."""
    names = Names("rebinding.example", ["127.0.0.1"], ["169.254.169.254"], ["::1", "10.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    port = listener.getsockname()[1]
    set_policy(told, backchannel_logout_uri=f"http://rebinding.example:{port}/logout")
    log_out(user, [told])

    for _ in range(3):
        send_logouts()
        assert only_failure() == REFUSED
        wait_for_next_attempt()

    assert names.answers == []
    assert_untouched(listener)


def test_of_several_addresses_those_alone_that_are_allowed(
    told: Any, user: User, party: RelyingParty, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names("both.example", ["127.0.0.2", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.1/32"]}
    port = urlsplit(party.address).port
    with socket.create_server(("127.0.0.2", port)) as listener:
        listener.setblocking(False)
        set_policy(told, backchannel_logout_uri=f"http://both.example:{port}/logout")
        log_out(user, [told])

        assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."

        assert_untouched(listener)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "HTTP_PROXY"])
def test_no_proxy_of_the_environment_is_asked(
    told: Any,
    user: User,
    listener: socket.socket,
    party: RelyingParty,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """It would look the name up itself."""
    monkeypatch.setenv(variable, party.address)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    timed_http._get_opener.cache_clear()
    port = listener.getsockname()[1]
    set_policy(told, backchannel_logout_uri=f"http://localhost:{port}/logout")
    log_out(user, [told])

    send_logouts()

    assert only_failure() == REFUSED
    assert party.tokens == []
    timed_http._get_opener.cache_clear()


def test_a_network_that_the_site_has_allowed(
    told: Any, user: User, party: RelyingParty, settings: Any
) -> None:
    log_out(user, [told])
    send_logouts()
    assert party.tokens == []
    assert only_failure() == REFUSED

    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.1/32"]}
    wait_for_next_attempt()
    assert send_logouts() == "1 logout tokens delivered, 0 failed, 0 left."
