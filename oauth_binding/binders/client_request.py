"""Client-request binding: the client names its own instance with ``tokenBindingId``."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _
from oauthlib.oauth2.rfc6749.errors import InvalidRequestError

from oauth_binding.binders.base import TokenBinder

if TYPE_CHECKING:
    from oauthlib.common import Request

#: The longest ``tokenBindingId``, in characters.
MAX_LENGTH: Final = 255


class ClientRequestBinder(TokenBinder):
    """Binds tokens to the ``tokenBindingId`` in the form body of the token request."""

    type = "client-request"
    label = _("Client request")
    parameter = "tokenBindingId"

    def get_binding_value(self, request: Request) -> str | None:
        """Return the ``tokenBindingId`` as sent, or None where it is absent, empty or only white space.

        :raises InvalidRequestError: it is repeated, too long, or has control characters.
        """
        values = [value for name, value in request.decoded_body or () if name == self.parameter]
        if len(values) > 1:
            raise InvalidRequestError(description=f"{self.parameter} is repeated.", request=request)
        if not values or not values[0].strip():
            return None
        (value,) = values
        if len(value) > MAX_LENGTH:
            raise InvalidRequestError(
                description=f"{self.parameter} has more than {MAX_LENGTH} characters.", request=request
            )
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise InvalidRequestError(
                description=f"{self.parameter} has control characters.", request=request
            )
        return str(value)
