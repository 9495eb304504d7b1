"""Where somebody is on the page "Your devices": what they search for, and which pages they are on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.urls import reverse

from oauth_binding.core.device_names import MAX_NAME_LENGTH

#: The name of the page's address.
LIST: Final = "oauth2_provider:device-list"

#: The parameters of its address besides that of the search: the numbers of pages.
_NUMBERS: Final = ("page", "browsers")

#: The parameter of the search.
SEARCH: Final = "q"


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link to a page, by its number; without an address, it stands for those that are left out."""

    number: int | str
    address: str
    is_current: bool


class PageLinks:
    """The links to the pages of a list, for the template ``oauth_binding/pages.html``."""

    def __init__(self, page: Page[Any], parameter: str, state: State) -> None:
        """
        :param page: the one that is shown.
        :param parameter: the parameter in the address with the number of the page.
        :param state: where the user is.
        """
        self._page, self._parameter, self._state = page, parameter, state

    @property
    def previous(self) -> str:
        """The address of the page before; empty where there is none."""
        return self._address(self._page.previous_page_number()) if self._page.has_previous() else ""

    @property
    def next(self) -> str:
        """The address of the next page; empty where there is none."""
        return self._address(self._page.next_page_number()) if self._page.has_next() else ""

    @cached_property
    def links(self) -> list[PageLink]:
        """The pages to link to; none if there is only one."""
        return list(self._links()) if self._page.paginator.num_pages > 1 else []

    def _links(self) -> Iterator[PageLink]:
        paginator = self._page.paginator
        for number in paginator.get_elided_page_range(self._page.number, on_each_side=2, on_ends=1):
            address = self._address(number) if isinstance(number, int) else ""
            yield PageLink(number, address, number == self._page.number)

    def _address(self, number: int) -> str:
        return f"{reverse(LIST)}{self._state.at(self._parameter, number)}"


class State:
    """Where the user is, by the parameters of an address. Other parameters are left out."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        """
        :param parameters: those of the request, as they were sent.
        """
        # A text too long to be searched for would be in every link.
        self.search = parameters.get(SEARCH, "").strip()[: MAX_NAME_LENGTH + 1]
        self._numbers = {name: parameters.get(name, "") for name in _NUMBERS}

    def page_of(self, paginator: Paginator[Any], parameter: str) -> Page[Any]:
        """Return the page of a list that the user is on; if it does not exist, the first or the last."""
        return paginator.get_page(self._numbers[parameter])

    def at(self, parameter: str, number: int) -> str:
        """Return the query of the address of another page of a list."""
        return _query(self.search, {**self._numbers, parameter: str(number)})

    @property
    def query(self) -> str:
        """The query of the present address; empty, or it begins with a question mark."""
        numbers = {
            name: number
            for name, number in self._numbers.items()
            if re.fullmatch("[0-9]{1,9}", number) and int(number) > 1
        }
        return _query(self.search, numbers)


def _query(search: str, numbers: dict[str, str]) -> str:
    sent = {SEARCH: search, **numbers}
    query = urlencode({name: value for name, value in sent.items() if value})
    return f"?{query}" if query else ""
