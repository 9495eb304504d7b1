"""The tables of this app, and what it adds to those of django-oauth-toolkit."""

from oauth_binding.models.application import (
    ApplicationBindingFields,
    BoundApplication,
    grant_type_choices,
)
from oauth_binding.models.binding import MISSED, TokenBinding, binding_is_public, binding_type_choices
from oauth_binding.models.code_context import CodeContext
from oauth_binding.models.contributed_fields import CONTRIBUTED_FIELDS
from oauth_binding.models.exchange import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.models.login_session import (
    KEEPS_BROWSER,
    MAX_SUBJECT_LENGTH,
    SSO_SESSION,
    LoginSession,
    LoginSessionClient,
    TerminationReason,
)
from oauth_binding.models.logout_notification import MAX_FAILURE_LENGTH, LogoutNotification
from oauth_binding.models.policy_rules import (
    SITE_ENTRIES,
    binder_requires,
    demands_at,
    policy_problems,
    site_value,
    takes_token_requests_alone,
)
from oauth_binding.models.revoked_token import RevokedToken
from oauth_binding.models.sightings import Sighted, looks_like, sighting
from oauth_binding.models.subjects import client_subject, could_be_user_key, names_a_user
from oauth_binding.models.token_policy import (
    DPOP,
    MAX_AUDIENCES,
    MAX_AUDIENCES_LENGTH,
    NO_CONSTRAINT,
    OFFLINE_ACCESS,
    Demand,
    DeviceLimitAction,
    RevokeOnLogout,
    TokenPolicy,
    policy_of,
    protects_from_reuse,
)
from oauth_binding.models.tokens import (
    AccessTokenBindingFields,
    BoundAccessToken,
    BoundRefreshToken,
    RefreshTokenBindingFields,
)
from oauth_binding.models.used_proof import UsedProof

__all__ = [
    "CONTRIBUTED_FIELDS",
    "DPOP",
    "KEEPS_BROWSER",
    "MAX_AUDIENCES",
    "MAX_AUDIENCES_LENGTH",
    "MAX_FAILURE_LENGTH",
    "MAX_SUBJECT_LENGTH",
    "MISSED",
    "NO_CONSTRAINT",
    "OFFLINE_ACCESS",
    "SITE_ENTRIES",
    "SSO_SESSION",
    "TOKEN_EXCHANGE",
    "AccessTokenBindingFields",
    "ApplicationBindingFields",
    "BoundAccessToken",
    "BoundApplication",
    "BoundRefreshToken",
    "CodeContext",
    "Demand",
    "DeviceLimitAction",
    "LoginSession",
    "LoginSessionClient",
    "LogoutNotification",
    "RefreshTokenBindingFields",
    "RevokeOnLogout",
    "RevokedToken",
    "Sighted",
    "TerminationReason",
    "TokenBinding",
    "TokenExchange",
    "TokenExchangeRule",
    "TokenPolicy",
    "UsedProof",
    "binder_requires",
    "binding_is_public",
    "binding_type_choices",
    "client_subject",
    "could_be_user_key",
    "demands_at",
    "grant_type_choices",
    "looks_like",
    "names_a_user",
    "policy_of",
    "policy_problems",
    "protects_from_reuse",
    "sighting",
    "site_value",
    "takes_token_requests_alone",
]
