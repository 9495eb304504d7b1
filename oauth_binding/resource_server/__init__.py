"""APIs that access tokens open: in the project of the server, and in a project that is not the server.

The latter needs no tables, and nothing of django-oauth-toolkit in ``INSTALLED_APPS``. The setting
``OAUTH_RESOURCE_SERVER`` says whose tokens they are; this app in ``INSTALLED_APPS`` brings its system checks.
"""

from oauth_binding.resource_server.bearer import (
    BearerError,
    DPoPNonceError,
    InsufficientScopeError,
    InvalidDPoPProofError,
    InvalidTokenError,
    MalformedRequestError,
    MissingTokenError,
    UnavailableError,
    get_authenticator,
    is_bound,
    is_sender_constrained,
)
from oauth_binding.resource_server.middleware import BearerTokenMiddleware
from oauth_binding.resource_server.verified_token import get_user
from oauth_binding.resource_server.views import ProtectedResourceMixin, authorize, protected_resource

__all__ = [
    "BearerError",
    "BearerTokenMiddleware",
    "DPoPNonceError",
    "InsufficientScopeError",
    "InvalidDPoPProofError",
    "InvalidTokenError",
    "MalformedRequestError",
    "MissingTokenError",
    "ProtectedResourceMixin",
    "UnavailableError",
    "authorize",
    "get_authenticator",
    "get_user",
    "is_bound",
    "is_sender_constrained",
    "protected_resource",
]
