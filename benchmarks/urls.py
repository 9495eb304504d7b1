"""The endpoints of the contender, and an API view that does nothing."""

import os
from typing import Any

from django.conf import settings
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class EmptyView(APIView):
    def get(self, request: Request) -> Response:
        return Response({})


urlpatterns: list[Any] = [path("api/", EmptyView.as_view())]
if os.environ["BENCHMARK_CONTENDER"] == "a bare view":
    from benchmarks import floor

    urlpatterns += [
        path("oauth2/token/", floor.token),
        path("oauth2/introspect/", floor.introspect),
    ]
elif "allauth" in settings.INSTALLED_APPS:
    from allauth.idp.oidc.views import token

    urlpatterns += [path("oauth2/token/", token), path("", include("allauth.idp.urls"))]
elif "oauth_binding" in settings.INSTALLED_APPS:
    urlpatterns.append(path("oauth2/", include("oauth_binding.urls")))
elif "oauth2_provider" in settings.INSTALLED_APPS:
    urlpatterns.append(path("oauth2/", include("oauth2_provider.urls")))
