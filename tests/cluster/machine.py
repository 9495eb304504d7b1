"""What servers of all kinds need of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

#: How long something may take that is waited for, in seconds.
TIMEOUT: Final = 60


def servers_user(name: str) -> str | None:
    """Return who runs servers that do not run as root, or None: who runs the tests is somebody else."""
    return name if os.geteuid() == 0 else None


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something is so.

    :raises TimeoutError: it is not after a minute.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


@contextmanager
def cluster_folder(user: str | None) -> Iterator[Path]:
    """Yield a folder where a user can go, which goes at the end.

    pytest's own folders are for who runs it alone.
    """
    folder = Path(tempfile.mkdtemp(prefix="oauth_binding-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
