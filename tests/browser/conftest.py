"""The example project in a process of its own, and a chromium that looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from example_project.demo.server import running_server
from tests.helpers.browser import POPULATE, Example, manage, run
from tests.helpers.chromium import CHROMIUM, running_chromium


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason="no chromium is installed"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example project with its own settings and an empty database, whatever the suite runs on."""
    with pytest.MonkeyPatch.context() as environment:
        variables = {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DJANGO_SQLITE_PATH": str(tmp_path_factory.mktemp("example") / "db.sqlite3"),
        }
        for name, value in variables.items():
            environment.setenv(name, value)
        manage("migrate", "--verbosity", "0")
        run(POPULATE)
        with running_server() as server:
            yield Example(server.address, variables)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser, example: Example) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=example.address, locale="en")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which no script may fail."""
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    assert failures == []
