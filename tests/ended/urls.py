"""The site's URLs with an API of every kind, as far as Django REST framework is there."""

from importlib.util import find_spec

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.decorators import (
    protected_resource as protected_by_toolkit,
)
from oauth2_provider.decorators import (
    protected_resource_metadata,
    rw_protected_resource,
)
from oauth2_provider.views import (
    ProtectedResourceView,
    ReadWriteScopedResourceView,
    ScopedProtectedResourceView,
)

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.resource_server import protected_resource

if find_spec("rest_framework") is None:
    from tests.sites.without_rest_framework import urlpatterns as site_urlpatterns
else:
    from tests.resource_server.apis import urlpatterns as site_urlpatterns


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in")


class OfToolkit(ProtectedResourceView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return answer(request)

    post = get


class ScopedOfToolkit(OfToolkit, ScopedProtectedResourceView):
    required_scopes = ["read"]


class ReadWriteOfToolkit(OfToolkit, ReadWriteScopedResourceView):
    pass


def who(request: HttpRequest) -> HttpResponse:
    """A view that knows nothing of tokens, for middlewares."""
    return HttpResponse("in", status=200 if request.user.is_authenticated else 401)


urlpatterns = [
    *site_urlpatterns,
    path("plain/", protected_resource(["read"])(answer)),
    path("toolkit/", protected_by_toolkit(scopes=["read"])(answer)),
    path("toolkit/read-write/", rw_protected_resource()(answer)),
    path("toolkit/metadata/", protected_resource_metadata(["read"])(answer)),
    path("toolkit/our-validator/", protected_by_toolkit(["read"], BindingOAuth2Validator)(answer)),
    path("toolkit/view/", csrf_exempt(OfToolkit.as_view())),
    path("toolkit/view/scoped/", ScopedOfToolkit.as_view()),
    path("toolkit/view/read-write/", ReadWriteOfToolkit.as_view()),
    path("who/", who),
]
