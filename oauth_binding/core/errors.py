"""The OAuth errors that this app refuses with: oauthlib's, and some beside, each with its reason.

What a client is told is in the class and its description. The reason is for the audit log alone, and has to
be given, so that none can be forgotten: no other module makes an error of oauthlib's.
"""

from __future__ import annotations

from typing import Any

from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc8628.errors import ExpiredTokenError as OAuthlibExpiredTokenError

from oauth_binding.core import audit
from oauth_binding.core.reasons import Reason


class Refusal(errors.OAuth2Error):
    """A request that this app refuses.

    :param reason: why, for the audit log; no answer has it.
    :param description: the ``error_description``, in ASCII (RFC 6749 section 5.2).
    :param context: ``request`` or ``state``, where it may go to the client's redirect URI.
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


class SlotContendedError(Refusal, errors.TemporarilyUnavailableError):
    """``temporarily_unavailable`` (RFC 6749 section 4.1.2.1): other requests kept changing the same slot."""

    status_code = 503
    description = "Too many simultaneous requests for the same token. Try again."


class UnsupportedMediaTypeError(Refusal, errors.InvalidRequestError):
    """``invalid_request`` (RFC 6749 section 5.2): the body has another media type than is taken."""

    status_code = 415


class InvalidDPoPProofError(Refusal):
    """``invalid_dpop_proof`` (RFC 9449 section 5)."""

    error = "invalid_dpop_proof"


class UseDPoPNonceError(Refusal):
    """``use_dpop_nonce`` (RFC 9449 section 8)."""

    error = "use_dpop_nonce"


class ClaimSourceError(Refusal, errors.TemporarilyUnavailableError):
    """``temporarily_unavailable``: what a token has to say of its user can't be told."""

    status_code = 503
    description = "What the access token says of the user can't be told now. Try again."


class ProofStoreError(Refusal, errors.TemporarilyUnavailableError):
    """``temporarily_unavailable``: it can't be told whether a proof was used before."""

    status_code = 503
