"""An API, whose code knows nothing of where its access tokens come from."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from oauth_binding.contrib.rest_framework import (
    IsBound,
    IsSenderConstrained,
    PresentsBinding,
    TokenHasReadWriteScope,
    TokenHasScope,
)
from oauth_binding.resource_server import is_bound, is_sender_constrained, protected_resource


def describe(token: Any) -> dict[str, Any]:
    binding = token.binding if is_bound(token) else None
    return {
        "user": None if token.user is None else str(token.user.pk),
        "scope": token.scope,
        "scopes": list(token.scopes),
        "binding": None if binding is None else [binding.binding_type, binding.reference],
        **({"confirmation": token.binding_confirmation} if is_sender_constrained(token) else {}),
    }


class Me(APIView):
    permission_classes: list[type[BasePermission]] = [TokenHasScope]
    required_scopes = ["read"]

    def get(self, request: Request) -> Response:
        return Response(describe(request.auth))

    post = get


class ForUsers(Me):
    permission_classes = [IsAuthenticated]


class ReadOrWrite(Me):
    permission_classes = [TokenHasReadWriteScope]
    required_scopes: list[str] = []


class Bound(Me):
    permission_classes = [TokenHasScope, IsBound]


class BoundToCertificate(Me):
    permission_classes = [IsBound.to("certificate")]


class Presented(Me):
    permission_classes = [TokenHasScope, PresentsBinding]


class Constrained(Me):
    permission_classes = [TokenHasScope, IsSenderConstrained]


class ThreeAnHour(UserRateThrottle):
    rate = "3/hour"


class Throttled(Me):
    throttle_classes = [ThreeAnHour]


@protected_resource(["read"])
def plain(request: HttpRequest) -> HttpResponse:
    return JsonResponse(describe(request.access_token))  # type: ignore[attr-defined]


@protected_resource(["read"], sender_constrained=True)
def plain_constrained(request: HttpRequest) -> HttpResponse:
    return JsonResponse(describe(request.access_token))  # type: ignore[attr-defined]


urlpatterns = [
    path("me/", Me.as_view()),
    path("for-users/", ForUsers.as_view()),
    path("read-or-write/", ReadOrWrite.as_view()),
    path("bound/", Bound.as_view()),
    path("certificate/", BoundToCertificate.as_view()),
    path("presented/", Presented.as_view()),
    path("throttled/", Throttled.as_view()),
    path("plain/", plain),
    path("constrained/", Constrained.as_view()),
    path("plain-constrained/", plain_constrained),
]
