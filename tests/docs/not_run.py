"""The blocks of the documentation that the tests do not run, and why."""

from __future__ import annotations

from typing import Final

_PIP: Final = ".ci/wheel installs the package into an environment of its own"

_RECIPE: Final = "tests/clients/test_backend_of_a_page.py runs it as a project of its own"

_PROXY: Final = "tests/docs/test_brute_force.py has nginx do it"

#: The page and the beginning of a block -> the reason. There is an entry for each such block, and no other.
NOT_RUN: Final = {
    (
        "README.md",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[drf]' &",
    ): (".ci/run begins with this line"),
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' &"): (
        ".ci/run goes on with this line"
    ),
    ("README.md", "pip install django-oauth-binding  # or, from a clone: pip in"): _PIP,
    ("CONTRIBUTING.md", "python3 -m venv .venv && .venv/bin/pip install -c constraint"): (
        "it is the line of the README, with the tools pinned; .ci/run has the tasks of nox"
    ),
    ("CONTRIBUTING.md", ".venv/bin/pre-commit install"): "it would change the clone",
    ("docs/apis.md", "pip install 'django-oauth-binding[drf]'"): _PIP,
    ("docs/brute-force.md", "pip install 'django-axes>=8'"): "it comes with the extra dev",
    (
        "docs/brute-force.md",
        "# Your own backends and APIs, which ask for many users, are ",
    ): _PROXY,
    ("docs/brute-force.md", "HTTP/1.1 429 Too Many Requests"): _PROXY,
    ("docs/getting-started.md", "python -m pip install django-oauth-binding"): _PIP,
    (
        "docs/how-it-works.md",
        "token = base64url(HMAC-SHA256(key derived from SECRET_KEY, r",
    ): ("a formula, and no code"),
    (
        "docs/processes.md",
        "DATABASES = {",
    ): "a cluster of servers: tests/concurrency has it, with these options",
    (
        "docs/processes.md",
        "# Both servers, of which one takes writes",
    ): "two servers: tests/cluster has them, with these options",
    ("docs/logout.md", "import os"): _RECIPE,
    ("docs/logout.md", "from django.urls import path"): _RECIPE,
    ("docs/logout.md", "from urllib.parse import urlencode"): _RECIPE,
    ("docs/resource-server.md", "pip install 'django-oauth-binding[drf]'"): _PIP,
    (
        "docs/proposals.md",
        "$ pip install -e '.[benchmark]'",
    ): "needs a clone of another project",
    (
        "docs/sizing.md",
        "$ TEST_DATABASE=postgresql python -m benchmarks.scale growth",
    ): "takes an hour",
    (
        "docs/speed.md",
        "# Statements that PostgreSQL prepares",
    ): "PostgreSQL's: the suite runs with these options by TEST_PREPARED=1",
    (
        "docs/speed.md",
        "$ pip install -e '.[benchmark]'",
    ): "takes a quarter of an hour; .ci/full runs it with --quick",
}
