"""Binding to the key that a client proves with DPoP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.proof.presented import presented_proof

if TYPE_CHECKING:
    from oauthlib.common import Request


class DPoPKeyBinder(TokenBinder):
    """Binds tokens to the key that the client proves with DPoP (RFC 9449): one token per key."""

    type = "dpop-key"
    label = _("DPoP key")
    description = _("The client proves a key of its own with DPoP in each request.")
    is_thumbprint = True

    def get_binding_value(self, request: Request) -> str | None:
        """Return the thumbprint of the key, or None where there is no proof.

        :raises OAuth2Error: the proof is no good.
        """
        presented = presented_proof(request)
        proof = None if presented is None else presented.read()
        return None if proof is None else proof.confirmation.thumbprint
