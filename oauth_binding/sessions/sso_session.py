"""Binding to the login session of the browser that a token came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.models import SSO_SESSION
from oauth_binding.storage import codes

if TYPE_CHECKING:
    from oauthlib.common import Request


class SSOSessionBinder(TokenBinder):
    """Binds tokens to the login session of the user's browser: they end with it.

    Grants without a browser (password, client credentials, device codes, token exchange) use the shared slot.
    """

    type = SSO_SESSION
    label = _("Login session")
    description = _(
        "One token for each browser in which the user is signed in; it ends with the login there."
    )

    def get_binding_value(self, request: Request) -> str | None:
        """Return the ``sid`` of the login session that the authorization code was requested in, or None."""
        form = dict(request.decoded_body or ())
        code = form.get("code")
        if not code or form.get("grant_type") != "authorization_code":
            return None
        context = codes.find_context(code, request.client)
        return None if context is None or context.session is None else str(context.session.sid)
