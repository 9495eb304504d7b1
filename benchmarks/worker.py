"""A process with the site of one contender. It reads commands, and answers each in a line.

The requests are WSGI calls, or go to a server on a socket.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.jobs import Call, Calls, calls, decode, prepare
from benchmarks.plan import Job
from benchmarks.where import sample


@dataclass(frozen=True)
class Send:
    """Sends a call, and returns the status and the body of the answer."""

    #: Of the server, without a path.
    address: str
    call: Callable[[Call], tuple[int, bytes]]


def wsgi_sender() -> Send:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    base = {
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    def send(call: Call) -> tuple[int, bytes]:
        environ: dict[str, Any] = {
            **base,
            "REQUEST_METHOD": "GET" if call.form is None else "POST",
            "PATH_INFO": call.path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(call.body)),
            "HTTP_AUTHORIZATION": call.authorization,
            **({"HTTP_DPOP": call.proof} if call.proof else {}),
            "wsgi.input": io.BytesIO(call.body),
        }
        status = ""

        def start_response(line: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal status
            status = line

        response = application(environ, start_response)
        try:
            return int(status[:3]), b"".join(response)
        finally:
            response.close()

    return Send("http://127.0.0.1", send)


def socket_sender(host: str, port: int) -> Send:
    connection = http.client.HTTPConnection(host, port, timeout=60)

    def send(call: Call) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": call.authorization,
            "Accept": "application/json",
            **({"DPoP": call.proof} if call.proof else {}),
        }
        method = "GET" if call.form is None else "POST"
        connection.request(method, call.path, call.body if call.form is not None else None, headers)
        response = connection.getresponse()
        return response.status, response.read()

    return Send(f"http://{host}:{port}", send)


class Stream:
    """The requests of a job, sent one after the other."""

    def __init__(self, send: Send, job: Job, process: int) -> None:
        #: Whether a request is being answered, and not the next one made.
        self.is_sending = False
        self._send = send
        self._calls: Calls = calls(job, process, send.address)
        self._next = next(self._calls)
        if job.endpoint != "token" or job.grant == "refresh_token" or job.revokes:
            self.request()  # makes the token that is checked, refreshed or revoked

    def request(self) -> float:
        """Send a request, and return the seconds it took."""
        seconds = 0.0
        goes_on = True
        while goes_on:
            goes_on = self._next.goes_on
            self.is_sending = True
            started = time.perf_counter()
            status, body = self._send.call(self._next)
            seconds += time.perf_counter() - started
            self.is_sending = False
            if status != 200:
                raise RuntimeError(f"{status} {body[:500]!r}")
            self._next = self._calls.send(decode(body))
        return seconds


class Worker:
    """What commands there are."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._streams: dict[tuple[Any, ...], list[Stream]] = {}
        self._numbers = count(process * 1000)
        self._wsgi = wsgi_sender()

    def migrate(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def run(self, job: dict[str, Any], requests: int) -> list[float]:
        """Return the seconds that each request took, as WSGI calls."""
        (stream,) = self._get_streams(Job(**job), 1, lambda: self._wsgi)
        return [stream.request() for _ in range(requests)]

    def where(self, job: dict[str, Any], requests: int) -> dict[str, float]:
        """Return the milliseconds that a request spends in the code of each package."""
        self.run(job, 1)
        return sample(lambda: self.run(job, requests))

    def load(self, job: dict[str, Any], requests: int, connections: int, host: str, port: int) -> Any:
        """Return the seconds that all requests took together, and each, over several connections."""
        streams = self._get_streams(Job(**job), connections, lambda: socket_sender(host, port), port)
        started = time.perf_counter()
        with ThreadPoolExecutor(connections) as pool:
            each = pool.map(
                lambda stream: [stream.request() for _ in range(requests // connections)], streams
            )
            seconds = [second for part in each for second in part]
        return time.perf_counter() - started, seconds

    def count_queries(self, job: dict[str, Any], requests: int) -> float:
        """Return how many SQL queries a request takes, in the mean; transaction control not counted."""
        from django.db import connection

        (stream,) = self._get_streams(Job(**job), 1, lambda: self._wsgi)
        queries = 0

        def count_query(execute: Any, sql: str, *arguments: Any) -> Any:
            nonlocal queries
            queries += stream.is_sending and not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))
            return execute(sql, *arguments)

        with connection.execute_wrapper(count_query):
            for _ in range(requests):
                stream.request()
        return queries / requests

    def memory(self) -> float:
        """Return the resident memory in MB."""
        with open("/proc/self/status") as status:
            (line,) = [line for line in status if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def fill(self, rows: int, devices: int) -> None:
        from benchmarks.growth import fill

        fill(rows, devices)

    def show_devices(self) -> float:
        from benchmarks.signing_out import show_devices

        return show_devices()

    def sign_out_everywhere(self) -> dict[str, Any]:
        from benchmarks.signing_out import sign_out_everywhere

        return sign_out_everywhere()

    def check_proofs(self, proofs: int, keys: int) -> float:
        from benchmarks.proofs import check

        return check(proofs, keys)

    def _get_streams(self, job: Job, number: int, sender: Callable[[], Send], *of: int) -> list[Stream]:
        if (job, *of) not in self._streams:
            prepare(job)
            streams = [Stream(sender(), job, next(self._numbers)) for _ in range(number)]
            for stream in streams:
                for _ in range(1 if job.hashes_slowly else 20):
                    stream.request()
            self._streams[job, *of] = streams
        return self._streams[job, *of]


def main() -> None:
    import django

    django.setup()
    number = int(sys.argv[1])
    if number == 0 and hasattr(os, "sched_setaffinity"):
        # Those who take turns share a core: one may be slower than another, and for a while.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    worker = Worker(number)
    print("ready", flush=True)
    for line in sys.stdin:
        command, arguments = json.loads(line)
        print(json.dumps(getattr(worker, command)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
