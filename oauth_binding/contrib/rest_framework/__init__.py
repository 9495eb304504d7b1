"""Django REST framework APIs that access tokens open; the only part that needs the package.

It works in the project of the server and in others. It hands on those permissions of django-oauth-toolkit
that ask for scopes: the latter's next release may have them only in projects where it is an installed app.
"""

from oauth_binding.contrib.rest_framework.authentication import BearerAuthentication
from oauth_binding.contrib.rest_framework.permissions import (
    IsBound,
    IsSenderConstrained,
    PresentsBinding,
    TokenHasReadWriteScope,
    TokenHasResourceScope,
    TokenHasScope,
)

__all__ = [
    "BearerAuthentication",
    "IsBound",
    "IsSenderConstrained",
    "PresentsBinding",
    "TokenHasReadWriteScope",
    "TokenHasResourceScope",
    "TokenHasScope",
]
