"""What the endpoints have in common."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection
from typing import Any, Final

from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.core.errors import InvalidRequestError, SlotContendedError, UnsupportedMediaTypeError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.sessions.given_up import undo_request
from oauth_binding.storage.attempts import is_given_up

#: The names of parameters (RFC 6749 section 8.2); the limit on the length is ours.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: RFC 8707 section 2, and RFC 8693 section 2.1.
_REPEATABLE: Final = frozenset({"resource", "audience"})

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

#: The challenge for client authentication (RFC 6749 section 2.3.1, RFC 7617 section 2).
BASIC: Final = 'Basic realm="client"'

#: The media type of requests (RFC 6749 appendix B).
_FORM: Final = "application/x-www-form-urlencoded"

#: What Django reads as a form. Some clients send the second one, which has always worked.
_FORMS: Final = frozenset({_FORM, "multipart/form-data"})

#: What Django raises while it reads a form.
_UNREADABLE: Final = (
    BadRequest,
    MultiPartParserError,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)

_View = Callable[..., HttpResponseBase]


def form_of(request: HttpRequest) -> QueryDict:
    """Return the form of a request; an empty one if it can't be read, which may be answered already."""
    try:
        form: QueryDict = request.POST
    except (*_UNREADABLE, UnreadablePostError):
        return QueryDict()
    return form


def error_response(error: OAuth2Error) -> HttpResponse:
    """Return an error as RFC 6749 section 5.2 has it."""
    return HttpResponse(
        error.json,
        status=error.status_code,
        content_type="application/json",
        headers={**NO_STORE, **error.headers},
    )


def json_errors(view: _View) -> _View:
    """Decorate a view for clients: its errors are JSON, including those that come from Django itself.

    Whatever the database gives up for others, anywhere in the request, is answered with 503: it may be sent
    again.
    """

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            response = HttpResponse(status=404)  # in place of the site's page
        except _UNREADABLE:
            return error_response(
                InvalidRequestError(
                    Reason.REQUEST_MALFORMED, description="The body is malformed or too large."
                )
            )
        except OperationalError as error:
            if not is_given_up(error):
                raise
            undo_request(error)
            return error_response(SlotContendedError(Reason.SLOT_CONTENDED))
        is_json = response.get("Content-Type") == "application/json"
        if response.status_code >= 400 and not is_json and isinstance(response, HttpResponse):
            _put_json(response)
        return response

    return answer


def _put_json(response: HttpResponse) -> None:
    """Give an error a body in JSON, unless it has one that is only not declared as such."""
    if not response.content.startswith(b"{"):
        response.content = json.dumps(_described(response))
    response["Content-Type"] = "application/json"
    response["Cache-Control"] = "no-store"


def _described(response: HttpResponse) -> dict[str, str]:
    if response.status_code == 404:
        return {"error": "not_found"}  # as django-oauth-toolkit says it for dynamic registration
    if response.status_code == 405:
        allowed = f"This endpoint takes {response['Allow']}."
        return {"error": "invalid_request", "error_description": allowed}
    return {"error": "server_error" if response.status_code >= 500 else "invalid_request"}


def tried_scheme(request: HttpRequest) -> str:
    """Return by which HTTP authentication scheme a client has tried to authenticate itself, in lower case."""
    return request.headers.get("Authorization", "").partition(" ")[0].lower()


def challenge_for(request: HttpRequest, bearer: str | None = None) -> str | None:
    """Return the ``WWW-Authenticate`` of a client that is not authenticated (RFC 6749 section 5.2), or None.

    It is the challenge of the scheme that the client tried, or all challenges if it tried none. Credentials
    in the body belong to no scheme: with a challenge, a browser would ask its user for a password.

    :param bearer: the challenge for access tokens, if they are taken as well.
    """
    scheme = tried_scheme(request)
    if scheme == "bearer":
        return bearer or "Bearer"
    if not scheme and not request.POST.keys().isdisjoint({"client_id", "client_secret"}):
        return None
    return BASIC if scheme == "basic" or bearer is None else f"{BASIC}, {bearer}"


def challenge_as_tried(view: _View) -> _View:
    """Decorate an endpoint that authenticates clients: a 401 has the challenge of what they tried."""

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code == 401:
            challenge = challenge_for(request)
            if challenge is None:
                del response["WWW-Authenticate"]
            else:
                response["WWW-Authenticate"] = challenge
        return response

    return answer


def readable_anywhere(view: _View) -> _View:
    """Decorate a public document: scripts of all sites may read its errors as well as the document (CORS)."""

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        response["Access-Control-Allow-Origin"] = "*"
        return response

    return answer


def check_form(request: HttpRequest) -> None:
    """Refuse a body that is not a form, such as JSON: the error would name missing parameters instead.

    :raises UnsupportedMediaTypeError: it names the media type that is wanted.
    """
    if request.method != "POST" or request.content_type in _FORMS:
        return
    # Without parameters, there need not be a body.
    if request.content_type or request.headers.get("Content-Length", "0") != "0":
        raise UnsupportedMediaTypeError(
            Reason.MEDIA_TYPE_UNSUPPORTED, description=f"The body must be of the content type {_FORM}."
        )


def check_query(request: HttpRequest) -> None:
    """Refuse parameters in the query string (RFC 6749 section 3.2, RFC 7009 section 2.1).

    :raises InvalidRequestError: it names the parameter, if a binder reads it.
    """
    for parameter in binding_settings.binder_parameters:
        if parameter in request.GET:
            raise InvalidRequestError(
                Reason.PARAMETER_MISPLACED,
                description=f"{parameter} must be in the body, not in the query string.",
            )
    if request.META.get("QUERY_STRING"):
        # oauthlib refuses them, too, but fails to decode some query strings first.
        raise InvalidRequestError(
            Reason.PARAMETER_MISPLACED, description="URL query parameters are not allowed"
        )


def check_repetition(*forms: QueryDict, among: Collection[str] | None = None) -> None:
    """Refuse a parameter that comes more than once (RFC 6749 sections 3.1 and 3.2).

    :param forms: what a request has in its query string and in its body, if a parameter may come in either.
    :param among: the names that count; None for all.
    :raises InvalidRequestError: it names the parameter.
    """
    seen: set[str] = set()
    for form in forms:
        for name, values in form.lists():
            counts = name not in _REPEATABLE and (among is None or name in among)
            if counts and (len(values) > 1 or name in seen):
                raise InvalidRequestError(
                    Reason.PARAMETER_REPEATED, description=f"{_printable(name)} is repeated."
                )
            seen.add(name)


def posted_parameters(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the names and values of a form, repeated ones included."""
    return [(name, value) for name, values in request.POST.lists() for value in values]


def without_content_type(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-type"}


def _printable(name: str) -> str:
    """Return the name of a parameter, or a substitute if an error can't contain it (RFC 6749 section 5.2)."""
    return name if _NAME.fullmatch(name) else "A parameter"
