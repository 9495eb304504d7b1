"""Ports of this machine for servers that a test starts."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a port for later, so none of those that the system hands out to others meanwhile."""
    numbers = random.SystemRandom()  # pytest-randomly gives all processes the same others
    while True:
        port = numbers.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
