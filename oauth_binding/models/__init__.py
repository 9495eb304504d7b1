"""The tables of this app, and what it adds to those of django-oauth-toolkit."""

from oauth_binding.models.application import (
    ApplicationBindingFields,
    BoundApplication,
    demands_binding,
    grant_type_choices,
)
from oauth_binding.models.binding import TokenBinding, binding_is_public, binding_type_choices
from oauth_binding.models.code_context import CodeContext
from oauth_binding.models.contributed_fields import CONTRIBUTED_FIELDS
from oauth_binding.models.exchange import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.models.policy_rules import policy_problems
from oauth_binding.models.revoked_token import RevokedToken
from oauth_binding.models.subjects import client_subject, could_be_user_key, names_a_user
from oauth_binding.models.token_policy import (
    DPOP,
    NO_CONSTRAINT,
    Demand,
    TokenPolicy,
    policy_of,
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
    "NO_CONSTRAINT",
    "TOKEN_EXCHANGE",
    "AccessTokenBindingFields",
    "ApplicationBindingFields",
    "BoundAccessToken",
    "BoundApplication",
    "BoundRefreshToken",
    "CodeContext",
    "Demand",
    "RefreshTokenBindingFields",
    "RevokedToken",
    "TokenBinding",
    "TokenExchange",
    "TokenExchangeRule",
    "TokenPolicy",
    "UsedProof",
    "binding_is_public",
    "binding_type_choices",
    "client_subject",
    "could_be_user_key",
    "demands_binding",
    "grant_type_choices",
    "names_a_user",
    "policy_of",
    "policy_problems",
]
