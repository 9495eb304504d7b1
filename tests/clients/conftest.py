"""The site in a process of its own, and what its clients need: Node, and packages from npm's registry."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_project.demo.server import running_server
from tests.clients.server.environment import site_environment
from tests.helpers.browser import Example

HERE = Path(__file__).parent

OLDEST_NODE = 20


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the site, with its people and applications."""
    path = tmp_path_factory.mktemp("database") / "db.sqlite3"
    with site_environment(path):
        populate = "from tests.clients.server.populate import populate; populate()"
        for command in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", populate]):
            subprocess.run([sys.executable, "manage.py", *command], check=True)
    return path


@pytest.fixture(scope="session")
def site(database: Path) -> Iterator[Example]:
    """The example project as it serves these clients."""
    with site_environment(database), running_server() as server:
        yield Example(server.address)


@pytest.fixture(scope="session")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of the clients, and the packages of ``package-lock.json``."""
    _require_node()
    folder = tmp_path_factory.mktemp("node")
    for file in (*HERE.glob("*.mjs"), *HERE.glob("package*.json")):
        shutil.copy(file, folder)
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    install += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if re.search(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED)\b", installed.stderr):
        pytest.skip("npm's registry can't be reached, and its packages are not in npm's cache")
    assert installed.returncode == 0, installed.stderr
    return folder


def _require_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node {version.strip()} is older than {OLDEST_NODE}")
