"""The pages of the console that end all of something, as a browser without scripts has them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

BINDINGS = "/admin/oauth_binding/tokenbinding/"
PAGES = f"{BINDINGS}end-all/"


def state(page: Any) -> str | None:
    """Return what the form of a page carries; None where it has none, as nothing is left to end."""
    assert page.status_code == 200, page.status_code
    found = re.search(r'name="state" value="([^"]*)"', page.content.decode())
    return None if found is None else unescape(found[1])


def text(page: Any) -> str:
    """Return what a page says."""
    main = page.content.decode().partition('<div id="end-all">')[2].partition("</form>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def send(operator: Client, address: str, page: Any) -> Any:
    """Press the button of a page."""
    return operator.post(address.partition("?")[0], {"state": state(page)})


def end_all(operator: Client, address: str) -> list[str]:
    """Ask for all of something to be ended, go on until it is, and return what each page says."""
    page = operator.get(address)
    pages = [text(page)]
    while state(page) is not None:
        page = send(operator, address, page)
        pages.append(text(page))
    return pages
