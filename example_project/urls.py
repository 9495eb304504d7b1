from django.apps import apps
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from example_project.api import WhoAmI
from oauth_binding.urls import metadata_urlpatterns

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("oauth2/", include("oauth_binding.urls")),
    path("api/me/", WhoAmI.as_view(), name="me"),
    path("api/devices/", include("oauth_binding.contrib.rest_framework.urls")),
    *metadata_urlpatterns,
]

if apps.is_installed("drf_spectacular"):
    from drf_spectacular.views import SpectacularAPIView

    from example_project import schema  # noqa: F401

    urlpatterns += [path("api/schema/", SpectacularAPIView.as_view(), name="schema")]
