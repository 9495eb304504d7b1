"""The device authorization endpoint and the page of approval (RFC 8628)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urljoin

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import generate_token
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from oauth_binding.authorization_server.endpoints.responses import (
    NO_STORE,
    challenge_as_tried,
    check_form,
    check_query,
    check_repetition,
    error_response,
    json_errors,
    posted_parameters,
)
from oauth_binding.authorization_server.issuing.in_flight import is_as_authenticated
from oauth_binding.authorization_server.issuing.limits import DEVICE_AUTHORIZATION, check_stored
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.errors import MisconfiguredError
from oauth_binding.storage import codes
from oauth_binding.storage.attempts import in_transaction


@method_decorator((json_errors, challenge_as_tried), name="dispatch")
class DeviceAuthorizationView(views.DeviceAuthorizationView):
    """The device authorization endpoint (RFC 8628 section 3.1)."""

    @classmethod
    def get_oauthlib_core(cls) -> Any:
        # django-oauth-toolkit keeps it on the class, and views inherit that of a class which was asked before
        # them; but the server of this view is another.
        if "own_core" not in vars(cls) or oauth2_settings.ALWAYS_RELOAD_OAUTHLIB_CORE:
            cls.own_core = cls.get_oauthlib_backend_class()(cls.get_server())
        return cls.own_core

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            check_form(request)
            check_query(request)
            check_repetition(request.POST)
            check_stored(DEVICE_AUTHORIZATION, posted_parameters(request))
            asking = self.get_oauthlib_core().validate_device_authorization_request(request)
            # HTTP Basic may have named it.
            check_stored(DEVICE_AUTHORIZATION, [("client_id", asking.client_id)])
            answer = self._answer(request)
        except OAuth2Error as error:
            return error_response(error)
        codes.note_device_requested(
            asking.client_id,
            answer["device_code"],
            answer["user_code"],
            " ".join(asking.scopes),
            answer["expires_in"],
            answer["interval"],
        )
        return JsonResponse(answer, headers=NO_STORE)

    def _answer(self, request: HttpRequest) -> dict[str, Any]:
        """Return new codes, and where the user is to enter one (RFC 8628 section 3.2).

        :raises MisconfiguredError: there is no such page.
        """
        server = self.get_oauthlib_core().server
        user_code = server.user_code_generator() if server.user_code_generator else generate_token()
        complete = server.verification_uri_complete(user_code)
        if server.verification_uri:
            page = server.verification_uri
        else:
            page = _page_of_user_codes()
            complete = complete or f"{page}?{urlencode({'user_code': user_code})}"
        answer = {
            "device_code": generate_token(),
            "user_code": user_code,
            "verification_uri": _absolute(request, page),
            "expires_in": server.expires_in,
            "interval": server.interval,
        }
        if complete:
            answer["verification_uri_complete"] = _absolute(request, complete)
        return answer


def _page_of_user_codes() -> str:
    """Return the path of django-oauth-toolkit's page.

    :raises MisconfiguredError: the site does not serve it.
    """
    page = endpoint_path("device")
    if page is None:
        raise MisconfiguredError(description="The page on which users enter codes is not set up.")
    return page


def _absolute(request: HttpRequest, address: str) -> str:
    """Return an address at the host of the issuer, if it has no host of its own."""
    return urljoin(oauth2_settings.OIDC_ISS_ENDPOINT or request.build_absolute_uri("/"), str(address))


class DeviceConfirmView(views.DeviceConfirmView):
    """The page on which a user approves a device, or denies it (RFC 8628 section 3.3)."""

    def form_valid(self, form: Any) -> HttpResponse:
        approve = super().form_valid

        def approve_now() -> HttpResponse:
            if not is_as_authenticated(self.request.user):
                raise PermissionDenied  # deactivated, or with another password, since this request began
            response: HttpResponse = approve(form)
            return response

        return in_transaction(approve_now)
