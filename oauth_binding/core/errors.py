"""The OAuth errors that this app refuses with: oauthlib's, and a few more, each with its reason.

The class and its description are what a client is told. The reason is only for the audit log, and is a
required argument, so that it can't be forgotten: no other module makes errors of oauthlib's.
"""

from __future__ import annotations

from typing import Any, Final

from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc8628.errors import ExpiredTokenError as OAuthlibExpiredTokenError

from oauth_binding.core import audit
from oauth_binding.core.reasons import Reason

#: After how many seconds a client may ask again (``Retry-After``, RFC 9110 section 10.2.3).
RETRY_AFTER: Final = 5


class Refusal(errors.OAuth2Error):
    """A request that this app refuses.

    :param reason: why, for the audit log; no answer has it.
    :param description: the ``error_description``, in ASCII (RFC 6749 section 5.2).
    :param context: ``request`` or ``state``, if the error may go to the client's redirect URI.
    """

    def __init__(self, reason: Reason, description: str | None = None, **context: Any) -> None:
        super().__init__(description=description, **context)
        self.reason = reason
        audit.note(str(self.error), reason)


class InvalidRequestError(Refusal, errors.InvalidRequestError):
    """``invalid_request`` (RFC 6749 section 5.2)."""


class InvalidClientError(Refusal, errors.InvalidClientError):
    """``invalid_client`` (RFC 6749 section 5.2)."""


class InvalidGrantError(Refusal, errors.InvalidGrantError):
    """``invalid_grant`` (RFC 6749 section 5.2)."""


class InvalidScopeError(Refusal, errors.InvalidScopeError):
    """``invalid_scope`` (RFC 6749 section 5.2)."""


class UnauthorizedClientError(Refusal, errors.UnauthorizedClientError):
    """``unauthorized_client`` (RFC 6749 section 5.2)."""


class AccessDeniedError(Refusal, errors.AccessDeniedError):
    """``access_denied`` (RFC 6749 section 4.1.2.1)."""


class DeviceCodeExpiredError(Refusal, OAuthlibExpiredTokenError):
    """``expired_token`` (RFC 8628 section 3.5)."""


class InvalidTargetError(Refusal):
    """``invalid_target`` (RFC 8707 section 2)."""

    error = "invalid_target"


class MisconfiguredError(Refusal, errors.ServerError):
    """``server_error`` (RFC 6749 section 4.1.2.1): what the client asks for is not set up on this server."""

    status_code = 503


class TemporarilyUnavailableError(Refusal, errors.TemporarilyUnavailableError):
    """``temporarily_unavailable`` (RFC 6749 section 4.1.2.1), with when to ask again."""

    status_code = 503

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {"Retry-After": str(RETRY_AFTER)}


class SlotContendedError(TemporarilyUnavailableError):
    """``temporarily_unavailable``: other requests kept changing what this one is about."""

    description = "Too many simultaneous requests for the same thing. Try again."


class UnsupportedMediaTypeError(Refusal, errors.InvalidRequestError):
    """``invalid_request`` (RFC 6749 section 5.2): the body does not have the right media type."""

    status_code = 415


class InvalidDPoPProofError(Refusal):
    """``invalid_dpop_proof`` (RFC 9449 section 5)."""

    error = "invalid_dpop_proof"


class UseDPoPNonceError(Refusal):
    """``use_dpop_nonce`` (RFC 9449 section 8)."""

    error = "use_dpop_nonce"


class ClaimSourceError(TemporarilyUnavailableError):
    """``temporarily_unavailable``: what a token has to say about its user can't be found out."""

    description = "The access token's claims about the user can't be read now. Try again."


class ProofStoreError(TemporarilyUnavailableError):
    """``temporarily_unavailable``: it can't be found out whether a proof was used before."""
