from django.contrib import admin
from django.urls import include, path

from example_project.api import WhoAmI

urlpatterns = [
    path("admin/", admin.site.urls),
    path("oauth2/", include("oauth_binding.urls")),
    path("api/me/", WhoAmI.as_view(), name="me"),
]
