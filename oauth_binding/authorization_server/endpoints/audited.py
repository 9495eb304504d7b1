"""What the audit log says of requests that the endpoints refuse."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from oauth_binding.authorization_server.endpoints.responses import form_of
from oauth_binding.authorization_server.issuing.request_state import BoundPlan, state_of
from oauth_binding.core import audit
from oauth_binding.core.audit import Attempt, Event, Facts, Outcome
from oauth_binding.core.reasons import BY_ERROR, Reason

#: The error codes of answers that are not refusals: a device is told to ask again (RFC 8628 section 3.5).
_NOT_YET: Final = frozenset({"authorization_pending", "slow_down"})

_View = Callable[..., HttpResponseBase]


def audited(event: Event) -> Callable[[_View], _View]:
    """Decorate an endpoint: what it refuses gets an entry in the audit log.

    It goes outside of everything else that turns errors into answers.

    :param event: the kind of entry that its refusals get.
    """

    def decorator(view: _View) -> _View:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not audit.is_on():
                return view(request, *args, **kwargs)
            with audit.attempting() as attempt:
                try:
                    response = view(request, *args, **kwargs)
                except Exception:
                    _refuse(event, request, attempt, "server_error", Outcome.ERROR)
                    raise
            if response.status_code >= 400:
                error = _error_of(response)
                if error not in _NOT_YET:
                    outcome = Outcome.ERROR if response.status_code >= 500 else Outcome.REFUSED
                    _refuse(event, request, attempt, error, outcome)
            return response

        return answer

    return decorator


def facts_of_attempt(request: HttpRequest, attempt: Attempt) -> Facts:
    """Return what is known of a request that is refused; its client need not be authenticated."""
    asked, form = attempt.request, form_of(request)
    known = {} if asked is None else vars(asked)
    client, user = known.get("client"), known.get("user")
    binding = None
    if asked is not None:
        state = state_of(asked)
        row = state.refresh_token
        binding = state.plan.binding if isinstance(state.plan, BoundPlan) else getattr(row, "binding", None)
    named = getattr(client, "client_id", None) or known.get("client_id") or form.get("client_id")
    return Facts(
        client_id=named,
        user=getattr(user, "pk", None),
        binding=binding,
        grant_type=form.get("grant_type"),
        meta=request.META,
    )


def _refuse(event: Event, request: HttpRequest, attempt: Attempt, error: str, outcome: Outcome) -> None:
    audit.refuse(event, reason_of(attempt, error), facts_of_attempt(request, attempt), outcome)


def reason_of(attempt: Attempt, error: str) -> Reason:
    """Return why a request was refused.

    :param error: the error code that it was answered with.
    """
    return attempt.reasons.get(error) or BY_ERROR.get(error, Reason.OTHER)


def _error_of(response: HttpResponseBase) -> str:
    """Return the error code of an answer (RFC 6749 section 5.2)."""
    try:
        body = json.loads(response.content) if isinstance(response, HttpResponse) else None
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str) and error:
        return error
    # An access token that is refused has its error in the challenge alone (RFC 6750 section 3.1).
    return "server_error" if response.status_code >= 500 else "invalid_token"
