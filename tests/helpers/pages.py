"""Pages in a browser: logging in there, pictures of them, and what keeps people from using them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.helpers.browser import PEOPLE

#: Where pictures of the pages go, for instance docs/images; by default none are taken.
SCREENSHOTS = os.environ.get("BROWSER_SCREENSHOTS", "")


def log_in(page: Page, name: str, path: str) -> None:
    """Log in at the page that a path leads to, and wait until the browser is on that path's own."""
    page.goto(path)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PEOPLE[name])
    # What came next would else end the request.
    with page.expect_navigation():
        page.get_by_role("button", name="Log in").click()


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def violations(page: Page, part: str = "html") -> list[Any]:
    """Return what axe finds that keeps people from using the page.

    :param part: a CSS selector of what is looked at.
    """
    # The search box, the links beside it, and the looks of the way to a page are the admin's own.
    looked_at = {"include": [part], "exclude": ["#changelist-search", ".breadcrumbs"]}
    found = Axe().run(page, looked_at).response["violations"]
    return [
        (violation["id"], violation["help"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
