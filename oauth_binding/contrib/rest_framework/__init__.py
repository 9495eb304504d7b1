"""Django REST framework APIs that access tokens open; the only part that needs the package.

It works in the project of the server and in others.
"""

from oauth_binding.contrib.rest_framework.authentication import BearerAuthentication
from oauth_binding.contrib.rest_framework.permissions import IsBound, PresentsBinding

__all__ = ["BearerAuthentication", "IsBound", "PresentsBinding"]
