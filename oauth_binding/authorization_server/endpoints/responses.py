"""What the endpoints have in common."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from django.http import HttpRequest, HttpResponse, QueryDict
from oauthlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error

from oauth_binding.core.settings import binding_settings

#: The names of parameters (RFC 6749 section 8.2); the length is ours.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: RFC 8707 section 2, and RFC 8693 section 2.1.
_REPEATABLE: Final = frozenset({"resource", "audience"})

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def error_response(error: OAuth2Error) -> HttpResponse:
    """Return an error as RFC 6749 section 5.2 has it."""
    return HttpResponse(
        error.json,
        status=error.status_code,
        content_type="application/json",
        headers={**NO_STORE, **error.headers},
    )


def check_query(request: HttpRequest) -> None:
    """Refuse parameters in the query string (RFC 6749 section 3.2, RFC 7009 section 2.1).

    :raises InvalidRequestError: naming the parameter, where a binder reads it.
    """
    for parameter in binding_settings.binder_parameters:
        if parameter in request.GET:
            raise InvalidRequestError(
                description=f"{parameter} must be in the body, not in the query string."
            )
    if request.META.get("QUERY_STRING"):
        # oauthlib says the same, but not before it fails to decode some query strings.
        raise InvalidRequestError(description="URL query parameters are not allowed")


def check_repetition(*forms: QueryDict, among: Collection[str] | None = None) -> None:
    """Refuse a parameter that comes more than once (RFC 6749 sections 3.1 and 3.2).

    :param forms: what a request has in its query string and its body, where one parameter may come in either.
    :param among: the names that count; None for all.
    :raises InvalidRequestError: naming the parameter.
    """
    seen: set[str] = set()
    for form in forms:
        for name, values in form.lists():
            counts = name not in _REPEATABLE and (among is None or name in among)
            if counts and (len(values) > 1 or name in seen):
                raise InvalidRequestError(description=f"{_printable(name)} is repeated.")
            seen.add(name)


def posted_parameters(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the names and values of a form, repeated ones included."""
    return [(name, value) for name, values in request.POST.lists() for value in values]


def without_content_type(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-type"}


def _printable(name: str) -> str:
    """Return the name of a parameter, or what stands for one no error can have (RFC 6749 section 5.2)."""
    return name if _NAME.fullmatch(name) else "A parameter"
