"""The devices of a user: listing them, signing them out, and naming them."""

from oauth_binding.devices.registry import (
    MAX_NAME_LENGTH,
    Device,
    device_id_of,
    devices_of,
    find_device,
    rename,
    sign_out,
    sign_out_everywhere,
    validate_name,
)

__all__ = [
    "MAX_NAME_LENGTH",
    "Device",
    "device_id_of",
    "devices_of",
    "find_device",
    "rename",
    "sign_out",
    "sign_out_everywhere",
    "validate_name",
]
