"""The client of a request, where this app handles the request in oauthlib's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oauth_binding.core.errors import InvalidClientError
from oauth_binding.core.reasons import Reason

if TYPE_CHECKING:
    from oauthlib.common import Request
    from oauthlib.oauth2 import RequestValidator


def require_client(validator: RequestValidator, request: Request) -> None:
    """Authenticate the client of a request (RFC 6749 section 2.3); a public one names itself.

    It is then ``request.client``, and ``request.client_id`` is its ID, even if only HTTP Basic gave that.

    :raises InvalidClientError: there is no such client, or its secret is wrong.
    """
    if validator.client_authentication_required(request):
        is_known = validator.authenticate_client(request)
    else:
        is_known = validator.authenticate_client_id(request.client_id, request)
    if not is_known:
        raise InvalidClientError(Reason.CLIENT_AUTHENTICATION_FAILED, request=request)
    request.client_id = request.client.client_id
