"""Users who log out, and applications that are told of it."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from django.core.management import call_command
from django.utils import timezone

from tests.helpers.servers import send, serve

ISSUER = "http://testserver/oauth2"

#: What the tests write into OAUTH_BINDING, so that the applications may be on this machine.
THIS_MACHINE = {"BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.0/8"]}


def log_out(user: Any, applications: Sequence[Any], *, sessions: int = 1, issuer: str = ISSUER) -> list[Any]:
    """Log a user out in some browsers, in each of which all the applications have got an ID token.

    :param issuer: what the ID tokens said.
    :returns: the sessions, as they were.
    """
    # Here, as processes without Django import this module, too.
    from oauth_binding.authorization_server.revocation.login_sessions import end_session
    from oauth_binding.models import LoginSession, LoginSessionClient, TerminationReason

    now = timezone.now()
    made = [
        LoginSession.objects.create(
            user=user, issuer=issuer, authenticated_at=now, expires=now + timedelta(days=1)
        )
        for _ in range(sessions)
    ]
    LoginSessionClient.objects.bulk_create(
        LoginSessionClient(session=session, application=application, sub=str(user.pk))
        for session in made
        for application in applications
    )
    for session in made:
        end_session(session, TerminationReason.LOGOUT)
    return made


def send_logouts() -> str:
    """Send what is due, and return what is printed."""
    printed = StringIO()
    call_command("sendlogouts", stdout=printed)
    return printed.getvalue().strip()


def wait_for_next_attempt() -> None:
    """Let as much time pass as all rows that are waiting have to wait for."""
    from oauth_binding.models import LogoutNotification

    LogoutNotification.objects.filter(next_attempt__isnull=False).update(next_attempt=timezone.now())


@dataclass
class RelyingParty:
    """An application behind a socket, which keeps what it is sent."""

    #: What it answers: a status each, and the last one from then on.
    statuses: list[int] = field(default_factory=lambda: [200])
    #: The logout tokens.
    tokens: list[str] = field(default_factory=list)
    content_types: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def uri(self) -> str:
        return f"{self.address}/logout"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.tokens.append(read_logout_token(handler))
        self.content_types.append(handler.headers["Content-Type"])
        send(handler, b"", self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])


def read_logout_token(handler: BaseHTTPRequestHandler) -> str:
    """Return the logout token that a request has."""
    assert (handler.command, handler.path) == ("POST", "/logout")
    form = parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode(), strict_parsing=True)
    assert list(form) == ["logout_token"]
    (token,) = form["logout_token"]
    return token


@contextmanager
def relying_party(*statuses: int) -> Iterator[RelyingParty]:
    """Serve an application that answers with some statuses; 200 where none is given."""
    party = RelyingParty(list(statuses) or [200])
    with serve(party.answer) as party.address:
        yield party


@contextmanager
def relying_party_with_tls(certificate: Path) -> Iterator[RelyingParty]:
    """Serve an application at an https address of localhost, with a certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    party = RelyingParty()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            party.answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def get_request(self) -> Any:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, *args: Any) -> None:
            pass  # the site has refused the certificate

    server = Server(("127.0.0.1", 0), Handler)
    party.address = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield party
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serve_as_process(port: int, seen: Path, *, dies: bool) -> None:
    """Serve an application in this process: a line of a file for each logout token that it has answered.

    :param dies: whether it is killed when it has got the first one, before it answers.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            token = read_logout_token(self)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            with seen.open("a") as file:
                file.write(f"{token}\n")
            send(self, b"")

        def log_message(self, *args: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve_as_process(int(sys.argv[1]), Path(sys.argv[2]), dies="dies" in sys.argv[3:])
