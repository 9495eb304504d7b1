"""The site's URLs as they are with django-oauth-toolkit alone."""

from django.urls import include, path

from example_project.api import WhoAmI

urlpatterns = [
    path("oauth2/", include("oauth2_provider.urls")),
    path("api/me/", WhoAmI.as_view()),
]
