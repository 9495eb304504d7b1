"""The page "Your devices" as a user sees it, without a browser that draws it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

LIST: Final = "/oauth2/devices/"
CSRF_SECRET: Final = "c" * 32


def words(markup: str) -> str:
    """Return the text of some HTML, with single blanks."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", markup)).split())


@dataclass
class Entry:
    """A device or a browser on the page."""

    markup: str

    def _first(self, pattern: str) -> str:
        found = re.search(pattern, self.markup, re.S)
        return words(found[1]) if found else ""

    @property
    def name(self) -> str:
        return self._first(r"<h3><bdi[^>]*>(.*?)</bdi>")

    @property
    def mark(self) -> str:
        """What says that it is here; empty elsewhere."""
        return self._first(r'class="oauth-devices-mark">(.*?)</span>')

    @property
    def applications(self) -> list[str]:
        found = re.search(r'class="oauth-devices-application">(.*?)</p>', self.markup, re.S)
        return [words(name) for name in re.findall(r"<bdi>(.*?)</bdi>", found[1], re.S)] if found else []

    @property
    def text(self) -> str:
        return words(self.markup)

    @property
    def facts(self) -> dict[str, str]:
        """What is said of it, by what it is about."""
        found = re.findall(r"<dt>(.*?)</dt> <dd>(.*?)</dd>", self.markup, re.S)
        return {words(term): words(value) for term, value in found}

    @property
    def sign_out(self) -> str:
        """Where its "Sign out" leads."""
        return self._address(r'href="([^"]*/sign-out/[^"]*)"')

    @property
    def rename(self) -> str:
        """Where the form for its name goes; empty where it has none."""
        return self._address(r'action="([^"]*/rename/[^"]*)"')

    def _address(self, pattern: str) -> str:
        found = re.search(pattern, self.markup)
        return html.unescape(found[1]) if found else ""


@dataclass
class Page:
    """What is shown at an address."""

    markup: str

    @property
    def text(self) -> str:
        return words(self.markup)

    @property
    def heading(self) -> str:
        return "".join(words(heading) for heading in re.findall(r"<h1[^>]*>(.*?)</h1>", self.markup, re.S))

    @property
    def messages(self) -> list[str]:
        return [words(each) for each in re.findall(r'class="oauth-devices-message">(.*?)</p>', self.markup)]

    @property
    def devices(self) -> list[Entry]:
        return self._entries("devices")

    @property
    def browsers(self) -> list[Entry]:
        return self._entries("browsers")

    def _entries(self, section: str) -> list[Entry]:
        pattern = rf'<section aria-labelledby="oauth-devices-{section}">(.*?)</section>'
        found = re.search(pattern, self.markup, re.S)
        return [Entry(entry) for entry in found[1].split('<li class="oauth-device">')[1:]] if found else []

    @property
    def names(self) -> list[str]:
        return [device.name for device in self.devices]

    def device(self, name: str) -> Entry:
        (entry,) = [device for device in self.devices if device.name == name]
        return entry

    def links(self, label: str = "Pages of devices") -> dict[str, str]:
        """The links to other pages, by what is read aloud."""
        found = re.search(rf'aria-label="{label}">(.*?)</nav>', self.markup, re.S)
        links = re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', found[1], re.S) if found else []
        return {words(name): html.unescape(address) for address, name in links}

    @property
    def others(self) -> str:
        """Where "Sign out everywhere else" leads; empty where it is not offered."""
        found = re.search(r'href="([^"]*/sign-out-others/[^"]*)"', self.markup)
        return html.unescape(found[1]) if found else ""


@dataclass
class UserAgent:
    """The browser of a user, signed in to the site."""

    user: User
    http: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))

    def __post_init__(self) -> None:
        self.http.force_login(self.user)
        self.http.cookies[settings.CSRF_COOKIE_NAME] = CSRF_SECRET

    def open(self, address: str = LIST, **options: Any) -> Page:
        response = self.http.get(address, **options)
        assert response.status_code == 200, response.status_code
        return Page(response.content.decode())

    def post(self, address: str, **data: str) -> Any:
        return self.http.post(address, {"csrfmiddlewaretoken": CSRF_SECRET, **data})

    def sign_out(self, name: str) -> Any:
        """Sign a device out as the page has it: by its link, and the button of the page that asks."""
        address = self.open().device(name).sign_out
        assert name in self.open(address).heading
        return self.post(address)

    def sign_out_browser(self, session: Any) -> Any:
        """Sign a browser out."""
        (address,) = [
            entry.sign_out for entry in self.open().browsers if f"/browsers/{session.pk}/" in entry.sign_out
        ]
        self.open(address)
        return self.post(address)

    def sign_out_others(self) -> Any:
        """Sign out everywhere else."""
        address = self.open().others
        assert "other" in self.open(address).heading
        return self.post(address)

    def rename(self, name: str, to: str) -> Any:
        return self.post(self.open().device(name).rename, name=to)
