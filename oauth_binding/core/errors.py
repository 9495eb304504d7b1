"""OAuth errors of this app, beside oauthlib's own."""

from __future__ import annotations

from oauthlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    OAuth2Error,
    ServerError,
    TemporarilyUnavailableError,
)


class MisconfiguredError(ServerError):
    """``server_error`` (RFC 6749 section 4.1.2.1): what the client asks for is not set up on this server."""

    status_code = 503


class SlotContendedError(TemporarilyUnavailableError):
    """``temporarily_unavailable`` (RFC 6749 section 4.1.2.1): other requests kept changing the same slot."""

    status_code = 503
    description = "Too many simultaneous requests for the same token. Try again."


class UnsupportedMediaTypeError(InvalidRequestError):
    """``invalid_request`` (RFC 6749 section 5.2): the body has another media type than is taken."""

    status_code = 415


class InvalidDPoPProofError(OAuth2Error):
    """``invalid_dpop_proof`` (RFC 9449 section 5)."""

    error = "invalid_dpop_proof"


class UseDPoPNonceError(OAuth2Error):
    """``use_dpop_nonce`` (RFC 9449 section 8)."""

    error = "use_dpop_nonce"


class ProofStoreError(TemporarilyUnavailableError):
    """``temporarily_unavailable``: it can't be told whether a proof was used before."""

    status_code = 503
