"""Handing a logout token to an application (OpenID Connect Back-Channel Logout 1.0 section 2.5)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from socket import gaierror
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request

from oauth_binding.core.jose.timed_http import AddressNotAllowedError, open_in_time
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.networks import Network, is_allowed
from oauth_binding.core.setting_rules import split_url
from oauth_binding.models import MAX_FAILURE_LENGTH

#: How long an application may take to answer, including the look-up of its address, in seconds.
TIMEOUT: Final = 10

#: The statuses by which an application says that it has logged the user out (section 2.8 mentions the
#: latter).
_DONE: Final = (200, 204)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of handing over a logout token."""

    #: Why it was not taken, without any part of the token or of the answer's body; empty if it was.
    failure: str = ""
    #: Whether the application answered at all.
    answered: bool = True


def post(uri: str, logout_token: str, networks: list[Network]) -> Result:
    """Send a logout token. Redirects are not followed, and only the status of the answer is read.

    :param uri: where the application wants it, according to its policy or its registration.
    :param networks: the internal networks that it may be sent to.
    """
    if split_url(uri) is None:
        # Urllib knows other schemes, to which networks mean nothing.
        return Result("its address is neither http nor https", answered=False)
    form = urlencode({"logout_token": logout_token}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "django-oauth-binding"}
    try:
        request = Request(uri, form, headers)  # noqa: S310
        with open_in_time(request, TIMEOUT, partial(is_allowed, networks=networks)) as response:
            status = response.status
    except HTTPError as error:
        error.close()
        status = error.code
    except (OSError, HTTPException, ValueError) as error:
        return Result(one_line(_reason(error))[:MAX_FAILURE_LENGTH], answered=False)
    return Result() if status in _DONE else Result(f"it answered with status {status}")


def _reason(error: Exception) -> str:
    """Return why there is no answer, in words of this app: errors may quote what the other side has sent."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, AddressNotAllowedError):
        return str(cause)
    if isinstance(cause, TimeoutError):
        return f"there was no answer within {TIMEOUT} seconds"
    if isinstance(cause, gaierror | UnicodeError):  # the latter for what can't be a name
        return "its host has no address"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason}"
    if isinstance(cause, OSError):
        return f"the connection failed: {cause.strerror or type(cause).__name__}"
    return f"there was no HTTP answer: {type(cause).__name__}"
