"""What an application's tokens may be for by its policy: audiences (RFC 8693) and resources (RFC 8707)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from oauth_binding.core.errors import InvalidTargetError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import TokenPolicy


def check_asked(policy: TokenPolicy, asked: Iterable[str], name: str = "resource", **context: Any) -> None:
    """Refuse what a request asks for if the application's tokens may not be for it.

    :param asked: audiences or resources.
    :param name: the parameter that they are in.
    :param context: ``request`` or ``state`` of the error, if it may go to the client's redirect URI.
    :raises OAuth2Error: ``invalid_target`` (RFC 8707 section 2); it names the parameter.
    """
    if not all(map(policy.allows_audience, asked)):
        raise InvalidTargetError(
            Reason.AUDIENCE_NOT_ALLOWED, f"This client gets no tokens for this {name}.", **context
        )


def inherit(policy: TokenPolicy, granted: list[str], name: str = "resource", **context: Any) -> list[str]:
    """Return what a token is for if its request asks for nothing.

    That is what was granted before, as far as it is still allowed, or else the default. A policy with allowed
    audiences allows no token that is for anything.

    :param granted: what the code or token in the request is for; empty if it is for anything.
    :param name: the parameter that could have asked for something.
    :param context: as above.
    :raises OAuth2Error: ``invalid_target``: nothing is left, or the request has to ask for something.
    """
    if granted:
        left = list(filter(policy.allows_audience, granted))
        if not left:
            raise InvalidTargetError(
                Reason.AUDIENCE_NOT_ALLOWED,
                f"This client no longer gets tokens for the granted {name}.",
                **context,
            )
        return left
    default = list(dict.fromkeys(filter(policy.allows_audience, policy.default_audiences.split())))
    if policy.allowed_audiences.split() and not default:
        raise InvalidTargetError(
            Reason.AUDIENCE_REQUIRED,
            f"{name} is required: this client gets no token without one.",
            **context,
        )
    return default


def could_be_for(policy: TokenPolicy, response_type: str) -> set[str]:
    """Return what an authorization request that asks for nothing can get a token for; empty for anything.

    :param response_type: that of the request; a code may be redeemed for each resource that is allowed.
    """
    if "code" in response_type.split():
        return {*policy.allowed_audiences.split()}
    return {*filter(policy.allows_audience, policy.default_audiences.split())}
