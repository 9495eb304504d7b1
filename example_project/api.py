"""An API that access tokens open."""

from typing import Any

from oauth2_provider.contrib.rest_framework import TokenHasScope
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class UserSerializer(serializers.Serializer[Any]):
    """The user who calls."""

    username = serializers.CharField(source="get_username", read_only=True)


class WhoAmI(APIView):
    """Says who calls."""

    permission_classes = [IsAuthenticated, TokenHasScope]
    required_scopes = ["read"]
    serializer_class = UserSerializer

    def get(self, request: Request) -> Response:
        return Response(self.serializer_class(request.user).data)
