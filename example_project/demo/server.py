"""The example site and the API on another machine, each in a process of its own."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from example_project.demo.accounts import Credentials

#: How long the server may take to start and to stop, in seconds.
STARTUP_TIMEOUT = 60
STOP_TIMEOUT = 10

#: How late the API may learn of a revocation, in seconds.
REVOCATION_DELAY = 1

_POLL_INTERVAL = 0.1
_HOST = "127.0.0.1"
# No more of the line than this: its words differ between versions of Django.
_ADDRESS = re.compile(rf"(http://{re.escape(_HOST)}:\d+)/")


class ServerError(Exception):
    """The server did not start, or ended by itself; the message has what it printed."""


class Server:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """
        :param process: the server.
        :param log: the file that the server prints to.
        """
        self._process = process
        self._log = log
        self.address = self._wait_for_address()

    def error(self, what: str) -> ServerError:
        """Return the error that says what happened to the server, and what it printed."""
        return ServerError(f"The server {what}. It printed:\n{self._output()}")

    def wait(self) -> None:
        """Wait until the server ends.

        :raises ServerError: always, as the server is not supposed to end by itself.
        """
        self._process.wait()
        raise self.error("ended by itself")

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + STARTUP_TIMEOUT
        while time.monotonic() < deadline:
            address = _ADDRESS.search(self._output())
            if address:
                return address[1]
            if self._process.poll() is not None:
                raise self.error("did not start")
            time.sleep(_POLL_INTERVAL)
        raise self.error(f"did not start within {STARTUP_TIMEOUT} seconds")

    def _output(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def running_server() -> Iterator[Server]:
    """Run the site on a free port of the loopback interface, and stop it at the end.

    :raises ServerError: it does not start.
    """
    # "--insecure" serves the admin's style sheets also without DEBUG.
    with _running(["--insecure"], {}) as server:
        yield server


@contextmanager
def running_api(server: Server, application: Credentials) -> Iterator[Server]:
    """Run the API that plays the other machine, and stop it at the end.

    :param server: issues the access tokens.
    :param application: as which the API introspects opaque ones.
    :raises ServerError: it does not start.
    """
    environment = {
        "DJANGO_SETTINGS_MODULE": "example_project.resource_server.settings",
        "OAUTH_ISSUER": f"{server.address}/oauth2",
        "OAUTH_CLIENT_ID": application.name,
        "OAUTH_CLIENT_SECRET": application.password,
        "OAUTH_REVOCATION_INTERVAL": str(REVOCATION_DELAY),
        "OAUTH_INTROSPECTION_CACHE_SECONDS": str(REVOCATION_DELAY),
    }
    with _running([], environment) as api:
        yield api


@contextmanager
def _running(options: list[str], environment: dict[str, str]) -> Iterator[Server]:
    # "-u": the address is read from what it prints.
    command = [sys.executable, "-u", str(settings.BASE_DIR / "manage.py")]
    command += ["runserver", f"{_HOST}:0", "--noreload", *options]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Server(process, log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
