"""An API for the devices of a user: what the page "Your devices" does."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.core.cache import DEFAULT_CACHE_ALIAS, cache
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from rest_framework import serializers, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from oauth_binding.contrib.rest_framework.authentication import BearerAuthentication
from oauth_binding.contrib.rest_framework.parsers import BoundedJSONParser
from oauth_binding.contrib.rest_framework.permissions import IsUserWithResourceScope
from oauth_binding.core.caches import CacheUnavailableError, asking
from oauth_binding.core.databases import deciding
from oauth_binding.core.device_names import MAX_NAME_LENGTH, validate_name
from oauth_binding.core.errors import RETRY_AFTER
from oauth_binding.devices.history import note_device_signed_out, note_others_signed_out, note_renamed
from oauth_binding.devices.live_bindings import LivePaginator
from oauth_binding.devices.registry import (
    Device,
    device_id_of,
    devices_of,
    find_device,
    rename,
    sign_out,
    sign_out_everywhere,
)
from oauth_binding.sessions.browser import current
from oauth_binding.sessions.given_up import undo_request
from oauth_binding.storage.attempts import is_given_up

#: The number of devices on a page if the site has no ``PAGE_SIZE``.
DEFAULT_PAGE_SIZE: Final = 50

#: What the cache is asked for.
_LIMIT: Final = "the limit of requests"


class CannotBeNamed(APIException):
    """409: a shared slot, or what is unbound, may stand for several devices."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = _("This can't be named: it may stand for several devices.")
    default_code = "cannot_be_named"


class ContentTooLarge(APIException):
    """413 (RFC 9110 section 15.5.14)."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The request is too large.")
    default_code = "content_too_large"


class GivenUp(APIException):
    """503: the database kept giving the request up for others."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("Too much is going on at the same moment. Try again.")
    default_code = "temporarily_unavailable"
    wait = RETRY_AFTER


class DeviceNameField(serializers.CharField):
    """The name of a device. Unlike in a CharField, a number is no name."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class DeviceNameSerializer(serializers.Serializer[Any]):
    """What a device is to be called; an empty name removes the one it has."""

    # What is trimmed here would not be validated.
    name = DeviceNameField(
        allow_blank=True, max_length=MAX_NAME_LENGTH, trim_whitespace=False, validators=[validate_name]
    )


class MomentField(serializers.DateTimeField):
    """A moment with its offset from UTC (RFC 3339 section 5.6), even if the site keeps local times."""

    def default_timezone(self) -> Any:
        return super().default_timezone() or timezone.get_default_timezone()


class DeviceApplicationSerializer(serializers.Serializer[Any]):
    """The application of a device."""

    client_id = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)


class SignedInDeviceSerializer(serializers.Serializer[Device]):
    """A device that the user is signed in on."""

    id = serializers.CharField(read_only=True)
    application = DeviceApplicationSerializer(read_only=True)
    name = serializers.CharField(
        read_only=True,
        help_text="What the user calls it, or else its `description`, or else plain words.",
    )
    description = serializers.CharField(
        read_only=True, help_text='What it looks like, such as "Firefox on Windows"; empty if not known.'
    )
    address = serializers.CharField(
        read_only=True, help_text="The address of its last token request, as far as the site keeps it."
    )
    place = serializers.CharField(
        read_only=True, help_text="The place of its last token request, as far as the site keeps it."
    )
    can_be_named = serializers.BooleanField(read_only=True)
    # As in introspection, which has neither for what counts as unbound.
    binding_type = serializers.CharField(
        source="binding.claims.binding_type", read_only=True, allow_null=True
    )
    binding_ref = serializers.CharField(source="binding.claims.binding_ref", read_only=True, allow_null=True)
    first_seen = MomentField(read_only=True)
    last_used = MomentField(read_only=True)
    sender_constrained = serializers.BooleanField(
        read_only=True, help_text="Whether its live tokens are of no use without a key of the device."
    )
    current = serializers.SerializerMethodField(help_text="Whether the request's access token is on it.")

    def get_current(self, device: Device) -> bool:
        return bool(device.id == self.context["current_device_id"])


class DevicePagination(PageNumberPagination):
    """Numbered pages, whatever the site's pagination is, of the site's ``PAGE_SIZE`` if it has one."""

    django_paginator_class = LivePaginator

    def get_page_size(self, request: Request) -> int:
        return api_settings.PAGE_SIZE or DEFAULT_PAGE_SIZE

    def get_page_number(self, request: Request, paginator: Any) -> int | str:
        # An empty number is refused like anything else that is not a number.
        return request.query_params.get(self.page_query_param, 1)


class _Counts:
    """Django's default cache, with the interface that throttles use."""

    def get(self, key: str, default: Any) -> Any:
        with asking(DEFAULT_CACHE_ALIAS, _LIMIT):
            return cache.get(key, default)

    def set(self, key: str, value: Any, seconds: float) -> None:
        with asking(DEFAULT_CACHE_ALIAS, _LIMIT):
            cache.set(key, value, seconds)


class DeviceRateThrottle(UserRateThrottle):
    """As many requests of a user as ``DEFAULT_THROTTLE_RATES["devices"]`` says, if it says so.

    If the cache that counts them does not answer, there is no limit: whoever has lost a device has to be able
    to sign it out.
    """

    scope = "devices"
    cache: Any = _Counts()

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return bool(super().allow_request(request, view))
        except CacheUnavailableError:
            return True

    def get_rate(self) -> str | None:
        rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        return rates.get(self.scope)


@method_decorator((never_cache, deciding()), name="dispatch")
class DeviceViewSet(ListModelMixin, RetrieveModelMixin, DestroyModelMixin, GenericViewSet[Any]):
    """The devices that the calling user is signed in on."""

    authentication_classes = [BearerAuthentication, SessionAuthentication]
    permission_classes = [IsUserWithResourceScope]
    required_scopes: ClassVar[list[str]] = ["devices"]
    throttle_classes = [*APIView.throttle_classes, DeviceRateThrottle]
    parser_classes = [BoundedJSONParser]
    pagination_class = DevicePagination
    filter_backends = []
    lookup_field = "id"
    serializer_class = SignedInDeviceSerializer

    @property
    def user(self) -> Any:
        return self.request.user

    @property
    def current_device_id(self) -> str | None:
        """The id of the device that calls; None for a browser with a session, which is not a device."""
        return None if self.request.auth is None else device_id_of(self.request.auth)

    def handle_exception(self, exc: Exception) -> Response:
        # Django would answer with a page in HTML.
        if isinstance(exc, RequestDataTooBig):
            exc = ContentTooLarge()
        elif isinstance(exc, OperationalError) and is_given_up(exc):
            undo_request(exc)
            exc = GivenUp()
        return super().handle_exception(exc)

    def get_queryset(self) -> Any:
        """Return the devices, in a list."""
        return devices_of(self.user)

    def get_object(self) -> Device:
        """Return the device of the address.

        :raises NotFound: the user is not signed in on a device with this id.
        """
        device = find_device(self.user, self.kwargs["id"], live_only=True)
        if device is None:
            raise NotFound
        return device

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "current_device_id": self.current_device_id}

    def partial_update(self, request: Request, id: str) -> Response:
        """Give a device a name, or remove it."""
        device = self.get_object()
        serializer = DeviceNameSerializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if "name" in serializer.validated_data:
            if device.binding is None or not device.can_be_named:
                raise CannotBeNamed
            before = device.binding.name
            rename(device.binding, serializer.validated_data["name"].strip())
            note_renamed(self.user, device.binding, before)
        return Response(self.get_serializer(device).data)

    def perform_destroy(self, instance: Device) -> None:
        sign_out(self.user, instance)
        note_device_signed_out(self.user, instance)

    @action(detail=True, methods=["post"], url_path="sign-out-others")
    def sign_out_others(self, request: Request, id: str) -> Response:
        """Sign the user out on all devices but this one."""
        return self._sign_out_others(self.get_object().id)

    @action(detail=False, methods=["post"], url_path="sign-out-others")
    def sign_out_all_others(self, request: Request) -> Response:
        """Sign the user out on all devices but the one that calls."""
        return self._sign_out_others(self.current_device_id)

    def _sign_out_others(self, device_id: str | None) -> Response:
        # A browser that calls with its session stays signed in.
        session = current(self.request._request) if self.request.auth is None else None
        signed_out = sign_out_everywhere(self.user, keep=device_id, keep_session=session)
        note_others_signed_out(self.user, signed_out)
        return Response({"signed_out": signed_out})
