"""What a request says of the device that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oauth_binding.core.client_addresses import client_address, kept_address
from oauth_binding.core.places import place_of
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.user_agents import read_user_agent


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a request says about the device that it comes from; texts are empty if nothing is known.

    None of it is proven: whoever makes a request says what they like. It helps people to recognise their
    devices, and decides nothing. The texts have no control characters; markup has to be escaped.
    """

    #: The browser, or the app or library, without a version.
    browser: str = ""
    #: The operating system, without a version.
    os: str = ""
    #: What kind of device it is, such as "iPhone"; empty for most computers.
    device: str = ""
    #: The address as ``DEVICE_ADDRESSES`` wants it; empty if that is off.
    address: str = ""
    #: What ``DEVICE_PLACES`` says about the address.
    place: str = ""


def facts_of(meta: Mapping[str, Any]) -> DeviceFacts:
    """Return what a request says about the device that it comes from.

    It may run the site's own code: do not call it under a lock.

    :param meta: the ``META`` of Django's request, which django-oauth-toolkit hands on as oauthlib's headers.
    """
    agent = read_user_agent(str(meta.get("HTTP_USER_AGENT", "")))
    address, path = client_address(meta), binding_settings.device_places
    return DeviceFacts(
        browser=agent.browser,
        os=agent.os,
        device=agent.device,
        address=kept_address(meta),
        place="" if address is None or path is None else place_of(path, str(address)),
    )
