"""The bindings of a user that have live tokens: in the order of the page, read only as far as needed.

A user may have any number of them, and many more that no longer have live tokens. So the database is asked
about a few at a time which ones have: for all of them, it takes seconds.
"""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from django.db.models import Q
from django.utils.functional import cached_property

from oauth_binding.storage.chunks import CHUNK_SIZE
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

#: How many bindings are read first: for most users, that is all of them.
_FIRST_LOOK: Final = 2000

#: How many are read at once, at most.
_LARGEST_LOOK: Final = 100_000


#: How many devices are counted beyond the current page: hardly any user has more.
COUNTED: Final = 1000


class LiveBindings:
    """The primary keys of bindings with live tokens: those that are here, and then the last used ones.

    :param bindings: a queryset of bindings, all of one user.
    :param here: the condition of those that are here; they have live tokens.
    """

    def __init__(self, bindings: Any, here: Q) -> None:
        self._bindings = bindings.filter(may_be_live=True).order_by("-last_used", "-pk")
        self._found: list[Any] = list(self._bindings.filter(here).values_list("pk", flat=True))
        self._here = frozenset(self._found)
        self._size = _FIRST_LOOK
        #: Those that were read, but whose tokens were not looked for yet.
        self._read: list[Any] = []
        #: The last one that was read; None for none.
        self._last: tuple[Any, Any] | None = None
        self._is_over = False

    def up_to(self, number: int) -> list[Any]:
        """Return the first ones up to a number, or all if there are fewer; it looks at few more than those.

        :param number: how many.
        """
        while len(self._found) < number and (self._read or not self._is_over):
            if not self._read:
                self._read_more(max(self._size, number - len(self._found)))
            these, self._read = self._read[:CHUNK_SIZE], self._read[CHUNK_SIZE:]
            live = _with_live_tokens(these)
            self._found += [pk for pk in these if pk in live]
        return self._found[:number]

    def _read_more(self, size: int) -> None:
        rows = self._bindings
        if self._last is not None:
            last_used, pk = self._last
            rows = rows.filter(Q(last_used__lt=last_used) | Q(pk__lt=pk), last_used__lte=last_used)
        read = list(rows.values_list("last_used", "pk")[: min(size, _LARGEST_LOOK)])
        self._is_over = len(read) < min(size, _LARGEST_LOOK)
        self._size *= 2
        if read:
            self._last = read[-1]
        self._read = [pk for _last_used, pk in read if pk not in self._here]


def _with_live_tokens(pks: list[Any]) -> set[Any]:
    """Return which of some bindings, by primary key, have a live access or refresh token.

    :param pks: at most ``CHUNK_SIZE``.
    """
    if not pks:
        return set()
    # The user is not part of the condition: the database looks through the few tokens of these bindings.
    found = set(_bound_to(access_tokens().filter(live_access_tokens()), pks))
    left = [pk for pk in pks if pk not in found]
    return found.union(_bound_to(refresh_tokens().filter(live_refresh_tokens()), left)) if left else found


def _bound_to(tokens: Any, pks: list[Any]) -> Any:
    return tokens.filter(binding__in=pks).order_by().values_list("binding", flat=True)


class LivePaginator(Paginator):  # type: ignore[type-arg]
    """Pages of devices, which are not counted further than ``COUNTED`` beyond the current page."""

    _last_wanted = 0

    def validate_number(self, number: Any) -> int:
        """Return a page's number.

        :raises InvalidPage: it is not a number, or there is no such page.
        """
        text = str(number)
        # If none is given, pages begin with the first one.
        wanted = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1
        self._last_wanted = max(1, wanted) * self.per_page
        return super().validate_number(number)

    @cached_property
    def count(self) -> int:
        """How many there are, or ``COUNTED`` more than up to the current page if there are more."""
        devices: Any = self.object_list
        number: int = devices.count_up_to(self._last_wanted + COUNTED)
        return number

    @property
    def is_counted(self) -> bool:
        """Whether ``count`` is the exact number."""
        return self.count < self._last_wanted + COUNTED
