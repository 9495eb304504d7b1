"""What Django mails to the administrators when an API fails does not have the token of the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest import mock

import pytest
from django.db import connection
from django.test import Client

from tests.helpers.client import Site
from tests.helpers.error_reports import mailed, mailing
from tests.resource_server import apis

#: One of each kind.
PATHS: Final = ("drf/any", "mixin/scoped", "decorator/scoped")


@contextmanager
def database_away() -> Iterator[None]:
    def execute(run: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        raise RuntimeError("Something is broken.")

    with connection.execute_wrapper(execute):
        yield


def view_broken() -> AbstractContextManager[Any]:
    return mock.patch.object(apis, "describe", side_effect=RuntimeError("Something is broken."))


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize(
    ("path", "fails"),
    [
        *((path, fails) for path in PATHS for fails in (database_away, view_broken)),
        ("session", database_away),
    ],
)
def test_a_report_does_not_have_the_token(
    make_bound: Callable[..., Site],
    settings: Any,
    path: str,
    token_type: str,
    fails: Callable[[], AbstractContextManager[Any]],
) -> None:
    token = make_bound(token_type).bound("phone", scope="read").access
    settings.ROOT_URLCONF = "tests.resource_server.apis"
    if path == "session":
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resource_server.apis.TokenMiddleware"]
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})
    with mailing(), fails():
        assert client.get(f"/{path}/").status_code == 500

    assert token not in mailed(of="Something is broken.")
