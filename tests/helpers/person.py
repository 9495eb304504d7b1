"""A person at a screen: who reads what is written there, clicks on it, and types."""

from __future__ import annotations

import json

from playwright.sync_api import Locator, Page, expect


class Person:
    """Goes by visible text alone, and counts the clicks.

    :param user: the name of the user whom it is about.
    """

    def __init__(self, page: Page, user: str) -> None:
        self.page = page
        self.user = user
        self.clicks = 0

    def click(self, text: str, beside: str = "") -> None:
        """Click on what is written somewhere.

        :param text: all that is written on it, which stands once on the screen.
        :param beside: other words of the same entry of a list or a table, where it stands in several.
        """
        entry = self._entry(beside)
        found = self._written(text, entry).filter(visible=True)
        expect(found.first).to_be_visible()
        # Rather what has no more written on it.
        alone = entry.get_by_text(text, exact=True).filter(visible=True)
        found = alone if alone.count() else found
        expect(found).to_have_count(1)
        found.click()
        self.clicks += 1

    def type(self, text: str) -> None:
        """Type into what was clicked on, in place of what is there."""
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def choose(self, option: str, of: str) -> None:
        """Choose in a list that is opened for that: a click on the list, and one on the option.

        :param of: what is written beside the list.
        """
        self.page.get_by_label(of).select_option(label=option)
        self.clicks += 2

    def download(self, text: str) -> str:
        """Click on what is written somewhere, and return the text of the file that is downloaded."""
        with self.page.expect_download() as download:
            self.click(text)
        return download.value.path().read_text()

    def reads(self, text: str, beside: str = "") -> None:
        """Look for words in what is written somewhere."""
        expect(self._entry(beside).get_by_text(text).filter(visible=True).first).to_be_visible()

    def sees(self, text: str, beside: str = "") -> None:
        """Look for what is written somewhere."""
        expect(self._written(text, self._entry(beside)).filter(visible=True).first).to_be_visible()

    def misses(self, text: str) -> None:
        """Look for an entry of a list or a table that is not there any more."""
        expect(self._entry(text)).to_have_count(0)

    def _entry(self, beside: str) -> Locator:
        if not beside:
            return self.page.locator("body")
        words = self._written(beside, self.page)
        return self.page.locator("li:visible, tr:visible").filter(has=words)

    @staticmethod
    def _written(text: str, where: Locator | Page) -> Locator:
        """Return what has a text, which may stand above something smaller."""
        line = where.locator(f"text={json.dumps(text, ensure_ascii=False)}")
        return where.get_by_text(text, exact=True).or_(line)
