"""The blocks of the documentation that the tests do not run, and why."""

from __future__ import annotations

from typing import Final

_PIP: Final = ".ci/wheel installs the package into an environment of its own"

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
    ("docs/apis.md", "pip install 'django-oauth-binding[drf]'"): _PIP,
    ("docs/getting-started.md", "python -m pip install django-oauth-binding"): _PIP,
    (
        "docs/how-it-works.md",
        "token = base64url(HMAC-SHA256(key derived from SECRET_KEY, r",
    ): ("a formula, and no code"),
    (
        "docs/processes.md",
        "DATABASES = {",
    ): "a cluster of servers: tests/concurrency has it, with these options",
    ("docs/resource-server.md", "pip install 'django-oauth-binding[drf]'"): _PIP,
    (
        "docs/speed.md",
        "$ pip install -e '.[benchmark]'",
    ): "takes a quarter of an hour; .ci/full runs it with --quick",
}
