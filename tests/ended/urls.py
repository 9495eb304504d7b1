"""The site's URLs with an API of every kind, as far as Django REST framework is there."""

from importlib.util import find_spec

from django.http import HttpRequest, HttpResponse
from django.urls import path
from oauth2_provider.decorators import protected_resource as protected_by_toolkit

from oauth_binding.resource_server import protected_resource

if find_spec("rest_framework") is None:
    from tests.sites.without_rest_framework import urlpatterns as site_urlpatterns
else:
    from tests.resource_server.apis import urlpatterns as site_urlpatterns


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in")


urlpatterns = [
    *site_urlpatterns,
    path("plain/", protected_resource(["read"])(answer)),
    path("toolkit/", protected_by_toolkit(scopes=["read"])(answer)),
]
