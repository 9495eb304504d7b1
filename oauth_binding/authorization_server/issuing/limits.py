"""What those of a request's parameters that are stored may be: the same on every database.

SQLite keeps what is too long for a column; PostgreSQL and MariaDB refuse it, and PostgreSQL refuses NUL. The
columns of scopes, resources and audiences have no limit; but they end up in JWTs, which have to fit into a
header.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oauth_binding.core.errors import InvalidRequestError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import MAX_AUDIENCES, MAX_AUDIENCES_LENGTH

if TYPE_CHECKING:
    from oauthlib.common import Request

#: How many values may be sent of each of these (RFC 8707 section 2, RFC 8693 section 2.1).
MAX_TARGETS: Final = MAX_AUDIENCES
_TARGETS: Final = ("resource", "audience")

#: All values of a parameter together, in characters.
TOKEN: Final[Mapping[str, int]] = {"scope": 4_096, **dict.fromkeys(_TARGETS, MAX_AUDIENCES_LENGTH)}
DEVICE_AUTHORIZATION: Final[Mapping[str, int]] = {**TOKEN, "client_id": 100}
AUTHORIZATION: Final[Mapping[str, int]] = {
    **TOKEN,
    "nonce": 255,
    "code_challenge": 128,
    "code_challenge_method": 10,
    "claims": 4_096,
}


def check_stored(
    limits: Mapping[str, int], parameters: Iterable[tuple[str, str]], request: Request | None = None
) -> None:
    """Refuse stored parameters that are too long or too many, or have control characters.

    :param limits: one of the tables above.
    :param parameters: the names and values that were sent.
    :param request: oauthlib's, if the error may go to the client's redirect URI.
    :raises InvalidRequestError: it names the parameter.
    """
    lengths = dict.fromkeys(limits, 0)
    targets = dict.fromkeys(_TARGETS, 0)
    for name, value in parameters:
        if name in lengths:
            lengths[name] += len(value)
            check_characters(name, value, request)
        if name in targets:
            # The consent page has them in one field, separated by spaces.
            targets[name] += len(value.split()) or 1
    for name, limit in limits.items():
        if lengths[name] > limit:
            raise InvalidRequestError(
                Reason.PARAMETER_TOO_LONG,
                description=f"{name} has more than {limit} characters.",
                request=request,
            )
    for name, number in targets.items():
        if number > MAX_TARGETS:
            raise InvalidRequestError(
                Reason.PARAMETER_TOO_LONG,
                description=f"{name} has more than {MAX_TARGETS} values.",
                request=request,
            )


def check_characters(name: str, value: str, request: Request | None = None) -> None:
    """Refuse a parameter that has control characters (RFC 6749 appendix A).

    :raises InvalidRequestError: it names the parameter.
    """
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidRequestError(
            Reason.PARAMETER_INVALID, description=f"{name} has control characters.", request=request
        )


def check_authorization_request(request: Request) -> None:
    """Refuse a request to the authorization endpoint with parameters that can't be stored.

    :param request: oauthlib's, whose redirect URI has been checked.
    :raises InvalidRequestError: it names the parameter.
    """
    check_stored(AUTHORIZATION, request.uri_query_params, request)
    # After consent, they come from the form, which django-oauth-toolkit hands on.
    check_stored(AUTHORIZATION, [*_granted(request)], request)


def _granted(request: Request) -> Iterable[tuple[str, str]]:
    for name in AUTHORIZATION:
        value: Any = request.scopes if name == "scope" else getattr(request, name, None)
        if isinstance(value, dict):
            value = json.dumps(value)  # these are claims, if nobody is asked
        yield name, " ".join(value) if isinstance(value, list) else value or ""
