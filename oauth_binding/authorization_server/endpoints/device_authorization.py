"""The device authorization endpoint and the page of approval (RFC 8628)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urljoin

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views
from oauth2_provider.models import get_device_grant_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from oauthlib.oauth2.rfc8628.endpoints import device_authorization as oauthlib_endpoint

from oauth_binding.authorization_server.endpoints.audited import audited
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
from oauth_binding.authorization_server.issuing.audiences import check_asked
from oauth_binding.authorization_server.issuing.in_flight import is_as_authenticated
from oauth_binding.authorization_server.issuing.limits import DEVICE_AUTHORIZATION, check_stored
from oauth_binding.core import audit
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.audit import Event, Facts
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.errors import MisconfiguredError
from oauth_binding.core.reasons import Reason
from oauth_binding.models import policy_of
from oauth_binding.sessions.browser import hold
from oauth_binding.storage import codes
from oauth_binding.storage.attempts import in_transaction


@method_decorator((audited(Event.DEVICE_CODE_REFUSED), json_errors, challenge_as_tried), name="dispatch")
class DeviceAuthorizationView(views.DeviceAuthorizationView):
    """The device authorization endpoint (RFC 8628 section 3.1)."""

    @classmethod
    def get_oauthlib_core(cls) -> Any:
        # django-oauth-toolkit keeps it on the class, and views inherit that of a base class that was asked
        # before them; but this view has another server.
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
            # HTTP Basic may have given it.
            check_stored(DEVICE_AUTHORIZATION, [("client_id", asking.client_id)])
            # It has no effect here, but a token request can't ask for it either.
            check_asked(policy_of(asking.client), filter(None, request.POST.getlist("resource")))
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
        audit.tell(
            Event.DEVICE_CODE_ISSUED,
            write_alias(get_device_grant_model()),
            Facts(client_id=asking.client_id, meta=request.META),
        )
        return JsonResponse(answer, headers=NO_STORE)

    def _answer(self, request: HttpRequest) -> dict[str, Any]:
        """Return new codes, and where the user is to enter one (RFC 8628 section 3.2).

        :raises MisconfiguredError: there is no such page.
        """
        server = self.get_oauthlib_core().server
        user_code = (server.user_code_generator or oauthlib_endpoint.generate_token)()
        complete = server.verification_uri_complete(user_code)
        if server.verification_uri:
            page = server.verification_uri
        else:
            page = _page_of_user_codes()
            complete = complete or f"{page}?{urlencode({'user_code': user_code})}"
        answer = {
            "device_code": oauthlib_endpoint.generate_token(),
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
        raise MisconfiguredError(
            Reason.MISCONFIGURED, description="The page on which users enter codes is not set up."
        )
    return page


def _absolute(request: HttpRequest, address: str) -> str:
    """Return an address, at the issuer's host if it has no host of its own."""
    return urljoin(oauth2_settings.OIDC_ISS_ENDPOINT or request.build_absolute_uri("/"), str(address))


class DeviceConfirmView(views.DeviceConfirmView):
    """The page on which a user approves a device, or denies it (RFC 8628 section 3.3)."""

    def form_valid(self, form: Any) -> HttpResponse:
        approve = super().form_valid

        def approve_now() -> HttpResponse:
            # Since this request began, the user was deactivated, got another password, or was logged out from
            # elsewhere.
            if not (is_as_authenticated(self.request.user) and hold(self.request)):
                raise PermissionDenied
            response: HttpResponse = approve(form)
            return response

        response = in_transaction(approve_now)
        self._tell()
        return response

    def _tell(self) -> None:
        """Have the audit log say what the user has decided, if anything."""
        if not audit.is_on():
            return
        grants = written(get_device_grant_model())
        grant = grants.filter(user_code=self.kwargs["user_code"]).first()
        if grant is not None and grant.status in (grant.AUTHORIZED, grant.DENIED):
            is_approved = grant.status == grant.AUTHORIZED
            audit.tell(
                Event.DEVICE_APPROVED if is_approved else Event.DEVICE_DENIED,
                grants.db,
                Facts(client_id=grant.client_id, user=self.request.user.pk, meta=self.request.META),
            )
