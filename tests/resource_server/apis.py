"""APIs of every kind that access tokens open, added to the example project's URLs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.generic import View
from oauth2_provider.contrib.rest_framework import (
    OAuth2Authentication,
    TokenHasReadWriteScope,
    TokenHasScope,
    TokenMatchesOASRequirements,
)
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from example_project.urls import urlpatterns as example_urlpatterns
from oauth_binding.contrib.rest_framework import (
    BearerAuthentication,
    IsBound,
    IsSenderConstrained,
    PresentsBinding,
)
from oauth_binding.resource_server import BearerTokenMiddleware, ProtectedResourceMixin, protected_resource

#: An API of each kind that takes any token with the scope "read".
KINDS = [
    "drf/any",
    *("mixin/scoped", "decorator/scoped", "async-mixin/scoped", "async-decorator/scoped"),
    "session",
]


def describe(request: Any, token: Any, user: Any) -> dict[str, Any]:
    """Say what a view finds of who calls."""
    binding = getattr(token, "binding", None)
    return {
        "user": None if user is None else user.get_username(),
        "scope": getattr(token, "scope", None),
        "binding_type": None if binding is None else binding.binding_type,
        "binding_ref": None if binding is None else binding.reference,
    }


class Described(APIView):
    """Lets everybody in who has no invalid token."""

    permission_classes: Any = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response(describe(request, request.auth, request.user))

    post = get


class Scoped(Described):
    permission_classes = [TokenHasScope]
    required_scopes = ["read", "write"]


class ScopedAndBound(Scoped):
    permission_classes = [TokenHasScope & IsBound]


class Staff(Described):
    permission_classes = [(IsAdminUser | TokenHasScope) & ~IsBound]
    required_scopes = ["write"]


class Alternatives(Described):
    permission_classes = [IsAuthenticated & TokenMatchesOASRequirements]
    required_alternate_scopes = {"GET": [["write"], ["introspection"]]}


class ReadWrite(Described):
    permission_classes = [TokenHasReadWriteScope]


class Bound(Described):
    permission_classes = [IsBound]


class BoundToCertificate(Described):
    permission_classes = [IsBound.to("x5t#S256", "jkt")]


class BoundOrStaff(Described):
    authentication_classes = [SessionAuthentication, BearerAuthentication]
    permission_classes = [IsBound | IsAdminUser]


class Presented(Described):
    permission_classes = [PresentsBinding]


class Constrained(Described):
    permission_classes = [IsAuthenticated & IsSenderConstrained]


class ConstrainedByMethod(Described):
    """Whose metadata can't say what it asks for."""

    def get_permissions(self) -> Any:
        return [IsSenderConstrained()] if self.request.method == "POST" else []


class Throttled(Described):
    throttle_classes = [type("OncePerMinute", (UserRateThrottle,), {"rate": "1/min"})]


class OfToolkit(Described):
    authentication_classes = [OAuth2Authentication]


class OfToolkitForUsers(OfToolkit):
    permission_classes = [IsAuthenticated]


class PlainView(ProtectedResourceMixin, View):
    """A class-based view of Django's."""

    required_scopes = ["read"]

    def get(self, request: HttpRequest) -> JsonResponse:
        return JsonResponse(describe(request, request.access_token, request.resource_owner))  # type: ignore[attr-defined]

    post = get


class PlainBoundView(PlainView):
    require_bound = True


class PlainPresentedView(PlainView):
    require_presented_binding = True


class PlainConstrainedView(PlainView):
    require_sender_constrained = True


class AsyncView(ProtectedResourceMixin, View):
    """A class-based view whose handlers are coroutines."""

    required_scopes = ["read"]

    async def get(self, request: HttpRequest) -> JsonResponse:
        return JsonResponse(describe(request, request.access_token, request.resource_owner))  # type: ignore[attr-defined]

    post = get


class AsyncPresentedView(AsyncView):
    require_presented_binding = True


class AsyncConstrainedView(AsyncView):
    require_sender_constrained = True


async def describe_async(request: HttpRequest) -> JsonResponse:
    return describe_plain(request)


def describe_plain(request: HttpRequest) -> JsonResponse:
    return JsonResponse(describe(request, request.access_token, request.resource_owner))  # type: ignore[attr-defined]


def describe_session(request: HttpRequest) -> JsonResponse:
    """A view that knows nothing of tokens, for the middleware."""
    return JsonResponse({"user": request.user.get_username()})


class TokenMiddleware(BearerTokenMiddleware):
    """The middleware of a site."""

    required_scopes = ["read"]


class OtherAdminSite(admin.AdminSite):
    """An admin of the site's own, in a namespace of its own."""


other_admin = OtherAdminSite("backoffice")
other_admin.register(User, UserAdmin)


urlpatterns = [
    *example_urlpatterns,
    path("drf/any/", Described.as_view()),
    path("drf/scoped/", Scoped.as_view()),
    path("drf/scoped-and-bound/", ScopedAndBound.as_view()),
    path("drf/staff/", Staff.as_view()),
    path("drf/alternatives/", Alternatives.as_view()),
    path("drf/read-write/", ReadWrite.as_view()),
    path("drf/bound/", Bound.as_view()),
    path("drf/certificate/", BoundToCertificate.as_view()),
    path("drf/bound-or-staff/", BoundOrStaff.as_view()),
    path("drf/presented/", Presented.as_view()),
    path("drf/constrained/", Constrained.as_view()),
    path("drf/constrained-by-method/", ConstrainedByMethod.as_view()),
    path("drf/constrained-in-urls/", Described.as_view(permission_classes=[IsSenderConstrained])),
    path("drf/throttled/", Throttled.as_view()),
    path("drf/toolkit/", OfToolkit.as_view()),
    path("drf/toolkit/users/", OfToolkitForUsers.as_view()),
    path("mixin/scoped/", PlainView.as_view()),
    path("mixin/bound/", PlainBoundView.as_view()),
    path("mixin/constrained/", PlainConstrainedView.as_view()),
    path("mixin/constrained-in-urls/", PlainView.as_view(require_sender_constrained=True)),
    path("mixin/presented/", PlainPresentedView.as_view()),
    path("decorator/scoped/", protected_resource(["read"])(describe_plain)),
    path("decorator/any/", protected_resource()(describe_plain)),
    path("decorator/bound/", protected_resource(bound=True)(describe_plain)),
    path("decorator/certificate/", protected_resource(binding_types=["jkt"])(describe_plain)),
    path("decorator/constrained/", protected_resource(["read"], sender_constrained=True)(describe_plain)),
    path("decorator/presented/", protected_resource(presented_binding=True)(describe_plain)),
    path("async-mixin/scoped/", AsyncView.as_view()),
    path("async-mixin/constrained/", AsyncConstrainedView.as_view()),
    path("async-mixin/presented/", AsyncPresentedView.as_view()),
    path("async-decorator/scoped/", protected_resource(["read"])(describe_async)),
    path(
        "async-decorator/constrained/", protected_resource(["read"], sender_constrained=True)(describe_async)
    ),
    path("async-decorator/presented/", protected_resource(presented_binding=True)(describe_async)),
    path("session/", describe_session),
    path("backoffice/", other_admin.urls),
]
