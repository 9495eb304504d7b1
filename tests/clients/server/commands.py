"""Commands of the site, on its database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.clients.server.environment import site_environment


def manage(database: Path, *arguments: str) -> str:
    with site_environment(database):
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shell(database: Path, code: str) -> str:
    return manage(database, "shell", "--verbosity", "0", "-c", code)
