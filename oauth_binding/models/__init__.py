"""The tables of this app, and what it adds to those of django-oauth-toolkit."""

from oauth_binding.models.application import (
    ApplicationBindingFields,
    BoundApplication,
    demands_binding,
    grant_type_choices,
)
from oauth_binding.models.binding import TokenBinding, binding_type_choices
from oauth_binding.models.code_context import CodeContext
from oauth_binding.models.contributed_fields import CONTRIBUTED_FIELDS
from oauth_binding.models.exchange import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.models.revoked_token import RevokedToken
from oauth_binding.models.subjects import client_subject, could_be_user_key, names_a_user
from oauth_binding.models.tokens import (
    AccessTokenBindingFields,
    BoundAccessToken,
    BoundRefreshToken,
    RefreshTokenBindingFields,
)

__all__ = [
    "CONTRIBUTED_FIELDS",
    "TOKEN_EXCHANGE",
    "AccessTokenBindingFields",
    "ApplicationBindingFields",
    "BoundAccessToken",
    "BoundApplication",
    "BoundRefreshToken",
    "CodeContext",
    "RefreshTokenBindingFields",
    "RevokedToken",
    "TokenBinding",
    "TokenExchange",
    "TokenExchangeRule",
    "binding_type_choices",
    "client_subject",
    "could_be_user_key",
    "demands_binding",
    "grant_type_choices",
    "names_a_user",
]
