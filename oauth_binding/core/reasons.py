"""Why something is refused or has ended, by stable codes: for the audit log and for those who look into it.

No answer contains one. Clients are told what the RFCs provide for, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final


class Reason(StrEnum):
    """Why a request is refused, or a token is not good. docs/audit-log.md says what each is for."""

    # What is wrong with a request
    GRANT_TYPE_UNKNOWN = auto()
    MEDIA_TYPE_UNSUPPORTED = auto()
    METADATA_INVALID = auto()
    NOT_FOUND = auto()
    PARAMETER_INVALID = auto()
    PARAMETER_MISSING = auto()
    PARAMETER_MISPLACED = auto()
    PARAMETER_REPEATED = auto()
    PARAMETER_TOO_LONG = auto()
    REDIRECT_URI_MISMATCH = auto()
    REQUEST_MALFORMED = auto()
    RESPONSE_TYPE_NOT_ALLOWED = auto()

    # Who asks
    BAD_CREDENTIALS = auto()
    CLIENT_AMBIGUOUS = auto()
    CLIENT_AUTHENTICATION_FAILED = auto()
    CLIENT_DELETED = auto()
    CLIENT_DISABLED = auto()
    CLIENT_NOT_CONFIDENTIAL = auto()
    CLIENT_UNKNOWN = auto()
    USER_CHANGED = auto()
    USER_INACTIVE = auto()

    # What it may have
    ACCESS_DENIED = auto()
    AUDIENCE_NOT_ALLOWED = auto()
    AUDIENCE_REQUIRED = auto()
    DEVICE_LIMIT = auto()
    GRANT_TYPE_NOT_ALLOWED = auto()
    SCOPE_INSUFFICIENT = auto()
    SCOPE_NOT_ALLOWED = auto()

    # What it presents
    CODE_CHALLENGE_MISSING = auto()
    CODE_REPLAYED = auto()
    CODE_UNKNOWN = auto()
    CODE_VERIFIER_WRONG = auto()
    DEVICE_CODE_EXPIRED = auto()
    DEVICE_CODE_UNKNOWN = auto()
    DEVICE_DENIED = auto()
    GRANT_INVALID = auto()
    REFRESH_TOKEN_EXPIRED = auto()
    REFRESH_TOKEN_OF_OTHER_CLIENT = auto()
    REFRESH_TOKEN_REUSE = auto()
    REFRESH_TOKEN_REVOKED = auto()
    REFRESH_TOKEN_UNKNOWN = auto()
    TOKEN_ENDED_MEANWHILE = auto()
    TOKEN_EXPIRED = auto()
    TOKEN_INVALID = auto()
    TOKEN_REVOKED = auto()

    # How long it lasts
    LOGIN_TOO_OLD = auto()
    SESSION_ENDED = auto()

    # What it is bound to
    BINDING_MISMATCH = auto()
    BINDING_NOT_PRESENTED = auto()
    BINDING_REQUIRED = auto()
    BINDING_VALUE_INVALID = auto()
    DEVICE_NAME_INVALID = auto()
    TOKEN_NOT_BOUND = auto()
    TOKEN_NOT_CONSTRAINED = auto()

    # Its proof
    KEY_MISMATCH = auto()
    PROOF_FOR_OTHER_TOKEN = auto()
    PROOF_INVALID = auto()
    PROOF_MISSING = auto()
    PROOF_NONCE_REQUIRED = auto()
    PROOF_REPLAYED = auto()

    # Token exchange
    ACT_NOT_ALLOWED = auto()
    ACT_TOO_LONG = auto()
    ACTOR_NOT_ALLOWED = auto()
    EXCHANGE_ENDED = auto()
    EXCHANGE_NOT_ALLOWED = auto()
    EXCHANGE_RULE_MISSING = auto()
    ISSUER_NOT_TRUSTED = auto()
    SUBJECT_TOKEN_INVALID = auto()
    SUBJECT_WITHOUT_USER = auto()

    # What the server can't do
    CLAIM_SOURCE_FAILED = auto()
    MISCONFIGURED = auto()
    NOT_DELIVERED = auto()
    PROOF_STORE_UNAVAILABLE = auto()
    SERVER_ERROR = auto()
    SLOT_CONTENDED = auto()

    # What a library or the site's own code has refused with an error code of its own
    OTHER = auto()


#: The reason, if all that is known is the error code of an answer: oauthlib and django-oauth-toolkit refuse
#: such requests themselves.
BY_ERROR: Final[Mapping[str, Reason]] = {
    "access_denied": Reason.ACCESS_DENIED,
    "insufficient_scope": Reason.SCOPE_INSUFFICIENT,
    "invalid_client": Reason.CLIENT_AUTHENTICATION_FAILED,
    "invalid_client_metadata": Reason.METADATA_INVALID,
    "invalid_dpop_proof": Reason.PROOF_INVALID,
    "invalid_grant": Reason.GRANT_INVALID,
    "invalid_redirect_uri": Reason.METADATA_INVALID,
    "invalid_request": Reason.REQUEST_MALFORMED,
    "invalid_scope": Reason.SCOPE_NOT_ALLOWED,
    "invalid_target": Reason.AUDIENCE_NOT_ALLOWED,
    "invalid_token": Reason.TOKEN_INVALID,
    "not_found": Reason.NOT_FOUND,
    "server_error": Reason.SERVER_ERROR,
    "temporarily_unavailable": Reason.SERVER_ERROR,
    "unauthorized_client": Reason.GRANT_TYPE_NOT_ALLOWED,
    "unsupported_grant_type": Reason.GRANT_TYPE_UNKNOWN,
    "unsupported_response_type": Reason.RESPONSE_TYPE_NOT_ALLOWED,
    "use_dpop_nonce": Reason.PROOF_NONCE_REQUIRED,
}
