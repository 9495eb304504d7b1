"""The page of authorized applications, on which a user looks through tokens and revokes them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from oauth2_provider import views

from oauth_binding.authorization_server.revocation.revoke import revoke_access_token
from oauth_binding.storage.ending import ended


class AuthorizedTokensListView(views.AuthorizedTokensListView):
    """The tokens of the user, without those that were ended."""

    def get_queryset(self) -> Any:
        return super().get_queryset().exclude(expires=ended())


class AuthorizedTokenDeleteView(views.AuthorizedTokenDeleteView):
    """Revokes a token of the user, and what was exchanged from it."""

    def form_valid(self, form: Any) -> HttpResponse:
        revoke_access_token(self.object)
        return HttpResponseRedirect(self.get_success_url())
