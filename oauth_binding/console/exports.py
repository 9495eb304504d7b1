"""The bindings of a list as CSV, however many there are."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from oauth_binding.models import TokenBinding
from oauth_binding.storage.chunks import in_pages

#: How many rows are read at once.
CHUNK: Final = 2000

#: The names of the columns, the same in every language: programs read them.
COLUMNS: Final = (
    *("id", "application", "client_id", "user", "name", "description", "binding_type", "reference"),
    *("live_access_tokens", "live_refresh_tokens", "first_seen", "last_used", "address", "place"),
)

#: A spreadsheet takes a cell that begins with one of these for a formula
#: (https://owasp.org/www-community/attacks/CSV_Injection).
_BEGIN_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def as_csv(
    request: HttpRequest, bindings: QuerySet[TokenBinding], count: Any, *, live_only: bool
) -> StreamingHttpResponse:
    """Return an answer with some bindings, the newest first; it is made while it is sent.

    It contains no binding value. It takes a few queries for each ``CHUNK`` of rows, and only the memory for
    those.

    :param bindings: a queryset that has not been sliced.
    :param count: adds the numbers of live tokens to a list of bindings.
    :param live_only: whether bindings without any are left out.
    """
    lines = _lines(bindings, count, live_only=live_only)
    return StreamingHttpResponse(
        _asynchronously(lines) if isinstance(request, ASGIRequest) else lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="token-bindings.csv"'},
    )


def _lines(bindings: QuerySet[TokenBinding], count: Any, *, live_only: bool) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for chunk in in_pages(bindings, CHUNK, newest_first=True):
        count(chunk)
        shown = [
            binding
            for binding in chunk
            if not live_only or binding.live_access_tokens or binding.live_refresh_tokens
        ]
        yield "".join(writer.writerow([_cell(value) for value in _row(binding)]) for binding in shown)


async def _asynchronously(lines: Iterator[str]) -> AsyncIterator[str]:
    # Django would collect all of an iterator before it sends the first piece.
    following = sync_to_async(lambda: next(lines, None))
    while (line := await following()) is not None:
        yield line


def _row(binding: Any) -> Sequence[Any]:
    return (
        binding.pk,
        binding.application,
        binding.application.client_id,
        "" if binding.user is None else binding.user.get_username(),
        binding.name,
        binding.description,
        binding.binding_type,
        binding.reference,
        binding.live_access_tokens,
        binding.live_refresh_tokens,
        _moment(binding.created),
        _moment(binding.last_used),
        binding.last_address or "",
        binding.last_place,
    )


def _moment(moment: Any) -> str:
    """Return a moment with its offset from UTC (RFC 3339), even if the site keeps local times."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return str(moment.isoformat(timespec="seconds"))


def _cell(value: Any) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_BEGIN_FORMULAS) else text
