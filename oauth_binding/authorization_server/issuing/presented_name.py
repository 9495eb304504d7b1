"""What an app calls the device that it runs on, in a header of the token request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from django.http.request import HttpHeaders

from oauth_binding.core.device_names import MAX_NAME_LENGTH
from oauth_binding.core.display_texts import is_misleading
from oauth_binding.core.errors import InvalidRequestError
from oauth_binding.core.reasons import Reason

if TYPE_CHECKING:
    from oauthlib.common import Request

#: The header. Characters beyond ASCII are UTF-8, which may be percent-encoded (RFC 3986 section 2.1).
NAME_HEADER: Final = "Token-Binding-Name"

#: Where it is in Django's ``META``, which django-oauth-toolkit hands on as oauthlib's headers.
_META_NAME: Final = HttpHeaders.to_wsgi_name(NAME_HEADER)


def read_name(request: Request, binding_value: str | None) -> str:
    """Return the name that a token request gives its device; empty if it gives none.

    :param binding_value: what the request presents to be bound to; without it, there is no device.
    :raises InvalidRequestError: it can't be a name.
    """
    sent = str(request.headers.get(_META_NAME, ""))
    try:
        # This is how WSGI passes the bytes of a header (PEP 3333).
        name = unquote_to_bytes(sent.encode("latin-1")).decode().strip()
    except UnicodeError:
        raise _refusal("is not UTF-8", request) from None
    if len(name) > MAX_NAME_LENGTH:
        raise _refusal(f"has more than {MAX_NAME_LENGTH} characters", request)
    if any(map(is_misleading, name)):
        raise _refusal("has control characters", request)
    if binding_value is None:
        return ""
    if name == binding_value.strip():
        # Names are shown, and the value is a secret.
        raise _refusal("must not be what the token is bound to", request)
    return name


def _refusal(problem: str, request: Request) -> InvalidRequestError:
    return InvalidRequestError(
        Reason.DEVICE_NAME_INVALID, description=f"{NAME_HEADER} {problem}.", request=request
    )
