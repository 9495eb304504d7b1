"""The example project's URLs where Django REST framework is not installed."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from oauth_binding.resource_server import protected_resource
from oauth_binding.urls import metadata_urlpatterns


@protected_resource(["read"])
def who_am_i(request: HttpRequest) -> JsonResponse:
    """Say who calls."""
    owner = request.resource_owner  # type: ignore[attr-defined]
    if owner is None:  # as IsAuthenticated has it
        return JsonResponse({}, status=403)
    return JsonResponse({"username": owner.get_username()})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("oauth2/", include("oauth_binding.urls")),
    path("api/me/", who_am_i, name="me"),
    *metadata_urlpatterns,
]
