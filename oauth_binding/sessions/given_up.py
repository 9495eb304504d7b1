"""The answer if the database keeps giving a request up for others until the time for retries is over."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.db import OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern

from oauth_binding.core.errors import RETRY_AFTER
from oauth_binding.core.language import language_of_texts
from oauth_binding.storage.attempts import is_given_up

logger = logging.getLogger(__name__)

_View = Callable[..., HttpResponseBase]


def undo_request(error: OperationalError) -> None:
    """Undo what a request has done that is answered as given up for others (``ATOMIC_REQUESTS``).

    :param error: what the database said; a warning is logged with it.
    """
    logger.warning("A request was given up for others again and again, last by: %r", error.__cause__)
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["ATOMIC_REQUESTS"] and connection.in_atomic_block:
            connection.set_rollback(True)


def given_up_page(request: HttpRequest, error: OperationalError) -> HttpResponse:
    """Return the page that asks somebody to try again: 503 with ``Retry-After`` (RFC 9110 section 15.6.4).

    :param error: as for ``undo_request``.
    """
    undo_request(error)
    language = language_of_texts()
    context = {
        "page_language": language,
        "page_bidi": language.split("-")[0] in settings.LANGUAGES_BIDI,
    }
    response = render(request, "oauth_binding/given_up.html", context, status=503)
    response["Retry-After"] = str(RETRY_AFTER)
    response["Cache-Control"] = "no-store"
    return response


def page_if_given_up(view: _View) -> _View:
    """Decorate a view for people: ``given_up_page`` is its answer if the database gives it up."""

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = _attempt(request, lambda: view(request, *args, **kwargs))
        if callable(getattr(response, "render", None)):
            _attempt_rendering(request, response)
        return response

    return answer


def _attempt_rendering(request: HttpRequest, response: Any) -> None:
    """Answer the same way if it is a template that asks the database, after the view has returned."""

    def render_or_answer() -> HttpResponseBase:
        del response.render  # caches must not keep it
        return _attempt(request, response.render)

    response.render = render_or_answer


def _attempt(request: HttpRequest, work: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    try:
        return work()
    except OperationalError as error:
        if not is_given_up(error):
            raise
        return given_up_page(request, error)


def pages_if_given_up(patterns: Iterable[URLPattern]) -> list[URLPattern]:
    """Return URL patterns whose views are decorated with ``page_if_given_up``."""
    return [
        URLPattern(each.pattern, page_if_given_up(each.callback), each.default_args, each.name)
        for each in patterns
    ]
