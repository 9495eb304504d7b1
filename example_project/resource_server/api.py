"""What access tokens open here."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from oauth_binding.contrib.rest_framework import PresentsBinding, TokenHasScope
from oauth_binding.resource_server import protected_resource


class WhoAmI(APIView):
    """Says who calls, with which client, and what the token is bound to."""

    permission_classes = [TokenHasScope]
    required_scopes = ["read"]

    def get(self, request: Request) -> Response:
        return Response(_describe(request.auth))


class Private(WhoAmI):
    """Says the same, only to who names what the token is bound to."""

    permission_classes = [TokenHasScope, PresentsBinding]


@protected_resource(["read"])
def plain(request: HttpRequest) -> HttpResponse:
    """Say the same without Django REST framework."""
    return JsonResponse(_describe(request.access_token))  # type: ignore[attr-defined]


def _describe(token: Any) -> dict[str, Any]:
    return {
        "username": None if token.user is None else token.user.get_username(),
        "client_id": token.client_id,
        "scope": token.scope,
        "binding_type": None if token.binding is None else token.binding.binding_type,
        "binding_ref": None if token.binding is None else token.binding.reference,
    }
