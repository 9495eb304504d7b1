"""Client-request binding: the client names its own instance with ``tokenBindingId``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from oauth_binding.binding.binder import TokenBinder

if TYPE_CHECKING:
    from oauthlib.common import Request


class ClientRequestBinder(TokenBinder):
    """Binds tokens to the ``tokenBindingId`` in the form body of the token request."""

    type = "client-request"
    label = _("Client request")
    description = _("The client names its own instance with tokenBindingId in the token request.")
    parameter = "tokenBindingId"

    def get_binding_value(self, request: Request) -> str | None:
        """Return the ``tokenBindingId`` as sent, or None if it is absent, empty or only white space."""
        value = dict(request.decoded_body or ()).get(self.parameter, "")
        return value if value.strip() else None
