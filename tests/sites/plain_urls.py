"""The site's URLs as they are with django-oauth-toolkit alone."""

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from oauth2_provider.views import ProtectedResourceMetadataView


class WhoAmI(ProtectedResourceMetadataView):
    """Says who calls."""

    def get(self, request: HttpRequest) -> JsonResponse:
        owner = request.resource_owner  # type: ignore[attr-defined]
        if owner is None:  # as IsAuthenticated has it
            return JsonResponse({}, status=403)
        return JsonResponse({"username": owner.get_username()})


urlpatterns = [
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("oauth2/", include("oauth2_provider.urls")),
    path("api/me/", WhoAmI.as_view()),
]
