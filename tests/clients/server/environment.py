"""The environment of the processes of the site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def site_environment(database: Path, **variables: str) -> Iterator[None]:
    """Put into the environment what the processes of the site read there.

    :param variables: what else they read.
    """
    variables |= {
        "DJANGO_SETTINGS_MODULE": "tests.clients.server.settings",
        "DJANGO_SQLITE_PATH": str(database),
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        yield
