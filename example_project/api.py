"""An API that access tokens open."""

from oauth2_provider.contrib.rest_framework import TokenHasScope
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    """Says who calls."""

    permission_classes = [IsAuthenticated, TokenHasScope]
    required_scopes = ["read"]

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})
