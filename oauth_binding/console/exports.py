"""The bindings of a list as CSV, however many they are."""

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

#: What a column is called, the same in each language: programs read it.
COLUMNS: Final = (
    *("id", "application", "client_id", "user", "name", "description", "binding_type", "reference"),
    *("live_access_tokens", "live_refresh_tokens", "first_seen", "last_used", "address", "place"),
)

#: With one of these a spreadsheet takes a cell for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_BEGIN_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def as_csv(
    request: HttpRequest, bindings: QuerySet[TokenBinding], count: Any, *, live_only: bool
) -> StreamingHttpResponse:
    """Return an answer with some bindings, the newest first, which is made while it is sent.

    No binding value is in it. It takes some queries for each ``CHUNK`` of rows, and no more memory.

    :param bindings: not in slices.
    :param count: gives a list of bindings the numbers of their live tokens.
    :param live_only: whether those without any are left out.
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
    # Django would gather all that an iterator has, before it sends the first of it.
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
    """Return a moment with its offset from UTC (RFC 3339), also where the site keeps local times."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return str(moment.isoformat(timespec="seconds"))


def _cell(value: Any) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_BEGIN_FORMULAS) else text
