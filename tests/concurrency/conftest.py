"""Sites that several modules of tests use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.concurrency.site import RunningSite, running_site


@pytest.fixture(scope="session")
def running_sites(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> Iterator[Callable[..., RunningSite]]:
    """Return a function that returns an empty site; one stays up for each kind."""
    sites: dict[str, RunningSite] = {}
    stack = ExitStack()

    def get(**provider: Any) -> RunningSite:
        kind = json.dumps(provider)
        if kind in sites:
            sites[kind].empty()
        else:
            directory = tmp_path_factory.mktemp("site")
            with django_db_blocker.unblock():
                sites[kind] = stack.enter_context(running_site(directory, **provider))
        return sites[kind]

    yield get
    with django_db_blocker.unblock():
        stack.close()
