"""A Redis server of the tests' own, which can be stopped and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.helpers.ports import free_port

#: Where it is, or None: Redis is not installed.
PROGRAM = shutil.which("redis-server")


@dataclass
class RedisServer:
    """The server, on a port of its own.

    It keeps everything in memory, and forgets it when it is stopped, unless it has a folder.
    """

    port: int
    folder: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert PROGRAM is not None
        # As it is recommended for proofs: what is kept is not given up for what is new.
        options = ["--save", "", "--maxmemory-policy", "noeviction"]
        if self.folder is not None:
            options += ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder)]
        self._process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", *options], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            # Also a server that still reads what it has kept refuses to answer.
            with redis.Redis(port=self.port) as client, suppress(redis.RedisError):
                client.ping()
                return
            time.sleep(0.02)
        raise RuntimeError("Redis did not start")

    def fill(self) -> None:
        """Let it have no room left, and give up nothing for what is new."""
        with redis.Redis(port=self.port) as client:
            client.config_set("maxmemory", 1)

    def throw_out(self) -> None:
        """Let it give up what it has for what is new, as a cache may, and have it do so."""
        with redis.Redis(port=self.port) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
            # Many times of what there is room for
            for number in range(10_000):
                client.set(f"filler {number}", "x" * 1_000)

    def hang(self) -> None:
        """Let it take requests and answer none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again, whether it hangs or has ended."""
        if self._process is None:
            self.start()
        else:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server(folder: Path | None = None) -> Iterator[RedisServer]:
    """Run a Redis server.

    :param folder: where it keeps what it has been told; nowhere if there is none.
    """
    server = RedisServer(free_port(), folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
