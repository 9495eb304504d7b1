"""The devices and browsers of a user: listing, naming and signing them out, and what is kept about them."""

from oauth_binding.core.device_names import MAX_NAME_LENGTH, validate_name
from oauth_binding.devices.login_sessions import login_sessions_of, sign_out_browser
from oauth_binding.devices.personal_data import export_devices, forget_device_facts
from oauth_binding.devices.registry import (
    Device,
    device_id_of,
    devices_of,
    find_device,
    rename,
    sign_out,
    sign_out_everywhere,
)

__all__ = [
    "MAX_NAME_LENGTH",
    "Device",
    "device_id_of",
    "devices_of",
    "export_devices",
    "find_device",
    "forget_device_facts",
    "login_sessions_of",
    "rename",
    "sign_out",
    "sign_out_browser",
    "sign_out_everywhere",
    "validate_name",
]
