"""The device authorization endpoint and the page of approval (RFC 8628)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import InvalidScopeError, OAuth2Error
from oauthlib.oauth2.rfc6749.utils import scope_to_list

from oauth_binding.authorization_server.endpoints.responses import (
    check_query,
    check_repetition,
    error_response,
    posted_parameters,
)
from oauth_binding.authorization_server.issuing.in_flight import is_as_authenticated
from oauth_binding.authorization_server.issuing.limits import DEVICE_AUTHORIZATION, check_stored
from oauth_binding.core.databases import deciding
from oauth_binding.storage.attempts import in_transaction


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
            check_query(request)
            check_repetition(request.POST)
            check_stored(DEVICE_AUTHORIZATION, posted_parameters(request))
        except OAuth2Error as error:
            return error_response(error)
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, body, status = super().create_device_authorization_response(request)
        # oauthlib 4 adds the scope, which django-oauth-toolkit does not expect. RFC 8628 has none here.
        if status == 200 and body.pop("scope", None) is None:
            try:
                self._check_scope(request)
            except OAuth2Error as error:
                return error.headers, error.json, error.status_code
        return headers, body, status

    @deciding()
    def _check_scope(self, request: HttpRequest) -> None:
        """Check the scope that a device asks for, which oauthlib 3.3 does not.

        :raises InvalidScopeError: the client can't have it.
        """
        core = self.get_oauthlib_core()
        asking, validator = core.oauthlib_request(request), core.server.request_validator
        validator.validate_client_id(asking.client_id, asking)
        scopes = scope_to_list(asking.scope) if asking.scope else []
        if not validator.validate_scopes(asking.client_id, scopes, asking.client, asking):
            raise InvalidScopeError(request=asking)


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
