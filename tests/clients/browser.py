"""The browser of the site's user, as far as authorization needs one."""

from __future__ import annotations

import re
from html import unescape

import requests

from tests.helpers.browser import PEOPLE

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


class Browser:
    """Signs alice in, and agrees to what clients ask for."""

    def __init__(self, address: str) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        login = f"{address}/accounts/login/"
        self._submit(login, username="alice", password=PEOPLE["alice"])
        assert "sessionid" in self.session.cookies

    def authorize(self, url: str) -> str:
        """Return where a client gets its code."""
        return self._submit(url, allow="Authorize").headers["Location"]

    def _submit(self, url: str, **filled_in: str) -> requests.Response:
        page = self.session.get(url, allow_redirects=False)
        assert page.status_code == 200, (url, page.headers.get("Location"), page.text)
        hidden = {name: unescape(value) for name, value in _HIDDEN.findall(page.text)}
        response = self.session.post(url, {**hidden, **filled_in}, allow_redirects=False)
        assert response.status_code == 302, response.text
        return response
