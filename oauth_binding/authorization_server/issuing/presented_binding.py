"""What a token request presents for its tokens to be bound to."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from oauth_binding.authorization_server.issuing.presented_name import read_name
from oauth_binding.authorization_server.issuing.request_state import state_of
from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core.errors import InvalidGrantError, InvalidRequestError, MisconfiguredError
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import Demand, TokenBinding, policy_of

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.binding.binder import TokenBinder


#: The longest binding value, in characters.
MAX_VALUE_LENGTH: Final = 255


def read_binding_value(request: Request) -> str | None:
    """Return the binding value that a token request presents to its client's binder, or None.

    A refresh request presents one to the refresh token's binder: see ``check_refresh_binding``.

    :param request: a token request whose client is known; nothing else need be known yet.

    :raises OAuth2Error: the value is malformed, or is missing although it is required.
    """
    if request.client.token_binding_type == NO_BINDING:
        return None
    binder = _binder(request.client.token_binding_type, request)
    value = _present(binder, request)
    demand = policy_of(request.client).require_binding
    if value is None and (binder.required or demand == Demand.YES):
        raise InvalidRequestError(
            Reason.BINDING_REQUIRED,
            description=f"{binder.parameter or binder.type} is required by this client.",
            request=request,
        )
    if value is None and demand == Demand.REPORT:
        state_of(request).missed_demands.add("require_binding")
    return value


def announces_refresh(request: Request) -> bool:
    """Return whether a token request says that it is a refresh request (RFC 6749 section 6).

    What was sent counts: other packages set the ``grant_type`` to ``refresh_token`` if there is none.
    """
    return dict(request.decoded_body or ()).get("grant_type") == "refresh_token"


def check_refresh_binding(request: Request) -> None:
    """Check what a refresh request says about its binding against the refresh token's own.

    :param request: one whose refresh token was found to be valid.

    :raises InvalidGrantError: it names another binding.
    """
    refresh_token = state_of(request).refresh_token
    assert refresh_token is not None  # noqa: S101
    binding: TokenBinding | None = refresh_token.binding
    binding_type = request.client.token_binding_type if binding is None else binding.binding_type
    if binding_type == NO_BINDING:
        return
    binder = _binder(binding_type, request)
    value = _present(binder, request)
    if value is not None and (binding is None or value != binding.binding_value):
        raise InvalidGrantError(
            Reason.BINDING_MISMATCH,
            description=f"{binder.parameter or binder.type} is not the one the refresh token was issued for.",
            request=request,
        )


def _binder(binding_type: str, request: Request) -> TokenBinder:
    try:
        return binding_settings.binders[binding_type]
    except KeyError:
        raise MisconfiguredError(
            Reason.MISCONFIGURED,
            description="The token binding type of this client is not installed on this server.",
            request=request,
        ) from None


def _present(binder: TokenBinder, request: Request) -> str | None:
    state = state_of(request)
    if not state.has_read_binding:
        problem, value = _examine(binder, request)
        if problem:
            name = binder.parameter or f"The value of {binder.type}"
            raise InvalidRequestError(
                Reason.BINDING_VALUE_INVALID, description=f"{name} {problem}.", request=request
            )
        state.device_name = read_name(request, value)
        state.binding_value, state.has_read_binding = value, True
    return state.binding_value


def _examine(binder: TokenBinder, request: Request) -> tuple[str, str | None]:
    """Return what is wrong with the value that a request presents, and the value; one of the two is empty."""
    value = binder.get_binding_value(request) or None
    if value is not None and len(value) > MAX_VALUE_LENGTH:
        return f"has more than {MAX_VALUE_LENGTH} characters", None
    if value is not None and any(unicodedata.category(character) == "Cc" for character in value):
        return "has control characters", None
    return "", value
