"""What drf-spectacular says about the API for devices; loaded if it is installed."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view

from oauth_binding.contrib.rest_framework.devices import SignedInDeviceSerializer
from oauth_binding.contrib.rest_framework.schema import REFUSALS, refusal
from oauth_binding.core.device_names import MAX_NAME_LENGTH
from oauth_binding.core.display_texts import is_misleading

_COMMON: Final = {**REFUSALS, 429: refusal("There were too many requests.")}
_NO_PAGE: Final = {404: refusal("There is no such page.")}
_NO_DEVICE: Final = {404: refusal("The user is signed in on no such device.")}
_NAMED: Final = {
    400: OpenApiResponse({"type": "object"}, "The name can't be read, or is not valid."),
    409: refusal("It can't be named."),
    413: refusal("The request is too large."),
    415: refusal("The request is not JSON."),
}
_SIGNED_OUT: Final = {
    200: OpenApiResponse(
        {
            "type": "object",
            "properties": {"signed_out": {"type": "integer", "minimum": 0}},
            "required": ["signed_out"],
        },
        "On how many devices the user was signed out.",
    )
}
_ID: Final = OpenApiParameter("id", str, OpenApiParameter.PATH, description="The `id` of the device.")


def _name() -> dict[str, Any]:
    """Return what naming a device takes.

    By hand, because drf-spectacular lists the empty name separately, and "oneOf" lets only one of the two
    match.
    """
    name = {
        "type": "string",
        "maxLength": MAX_NAME_LENGTH,
        "pattern": f"^[^{_misleading()}]*$",
        "description": "Empty removes the name.",
    }
    return {"application/json": {"type": "object", "properties": {"name": name}}}


def _misleading() -> str:
    """Return the misleading characters as ranges of a regular expression (ECMA-262).

    Without the flag "u", these know only characters of the basic plane, and halves of the others.
    """
    codes = [code for code in range(0x10000) if not 0xD800 <= code < 0xE000 and is_misleading(chr(code))]
    # Within a range, each code is as far from its index in the list as the one before.
    rows = [list(row) for _, row in groupby(enumerate(codes), key=lambda each: each[1] - each[0])]
    return "".join(rf"\u{row[0][1]:04x}-\u{row[-1][1]:04x}" for row in rows)


class DeviceViewSetExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """Adds what can't be told from the classes: the errors, and the answers to signing out."""

    target_class = "oauth_binding.contrib.rest_framework.devices.DeviceViewSet"
    match_subclasses = True

    def view_replacement(self) -> Any:
        one = SignedInDeviceSerializer
        return extend_schema_view(
            list=extend_schema(
                summary="List the devices",
                responses={200: one(many=True), **_COMMON, **_NO_PAGE},
            ),
            retrieve=extend_schema(
                summary="Show a device", parameters=[_ID], responses={200: one, **_COMMON, **_NO_DEVICE}
            ),
            partial_update=extend_schema(
                summary="Name a device",
                parameters=[_ID],
                request=_name(),
                responses={200: one, **_NAMED, **_COMMON, **_NO_DEVICE},
            ),
            destroy=extend_schema(
                summary="Sign out on a device",
                parameters=[_ID],
                responses={204: None, **_COMMON, **_NO_DEVICE},
            ),
            sign_out_others=extend_schema(
                operation_id="devices_sign_out_others",
                summary="Sign out on all devices but one",
                parameters=[_ID],
                request=None,
                responses={**_SIGNED_OUT, **_COMMON, **_NO_DEVICE},
            ),
            sign_out_all_others=extend_schema(
                operation_id="devices_sign_out_all_others",
                summary="Sign out on all other devices",
                request=None,
                responses={**_SIGNED_OUT, **_COMMON},
            ),
        )(type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__}))
