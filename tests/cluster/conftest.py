"""A site on a PostgreSQL server that is made once, and copied for each test that ends a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.cluster.machine import cluster_folder
from tests.cluster.origin import DATABASE, Origin
from tests.cluster.postgresql import MISSING, USER, empty_server
from tests.concurrency.site import prepare_site


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder where PostgreSQL's user can go."""
    with cluster_folder(USER) as folder:
        yield folder


@pytest.fixture(scope="session")
def origin(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """The site as it starts."""
    if connection.vendor != "postgresql":
        pytest.skip("asks PostgreSQL alone: TEST_DATABASE=postgresql")
    if MISSING:
        pytest.skip(f"needs Debian's packages: {MISSING}")
    with empty_server(folder / "origin") as server:
        server.ask(f"CREATE DATABASE {DATABASE}")
        variables = {
            "DJANGO_SETTINGS_MODULE": "tests.cluster.settings",
            "CLUSTER_DATABASES": json.dumps({"default": {"PORT": str(server.port)}}),
        }
        site = prepare_site(DATABASE, tmp_path_factory.mktemp("site"), variables=variables)
        yield Origin(site, server)
