"""What a ``User-Agent`` (RFC 9110 section 10.1.5) says about a browser and what it runs on."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from ua_parser import Device, parse

from oauth_binding.core.display_texts import clean

#: How much of the header is read, in characters: a longer one takes more time, and those of browsers and of
#: apps in them are shorter.
_MAX_HEADER_LENGTH: Final = 512

#: How many headers a process remembers.
_REMEMBERED: Final = 1024

#: The longest name of a browser, an operating system or a kind of device, in characters.
MAX_FACT_LENGTH: Final = 64

#: What the name of the device or of the operating system already says.
_SAID_ELSEWHERE: Final = frozenset({"Mobile", "iOS"})

#: What is said if the device is not known; Chrome calls every Android device K.
_NO_DEVICES: Final = frozenset({"K", "iOS-Device"})
_NO_BRANDS: Final = frozenset({"Generic", "Spider"})


#: What the names of kinds of devices look like: neither sentences nor addresses.
_MODEL: Final = re.compile(r"[\w()+-]+( [\w()+-]+){0,3}")


class UserAgent(NamedTuple):
    """What is known about it; texts are empty if nothing is."""

    browser: str
    os: str
    device: str


def read_user_agent(header: str) -> UserAgent:
    """Return what a header says. It is whatever the client wrote, and need not be a browser's.

    :param header: of any length; the beginning is read.
    """
    return _read(header[:_MAX_HEADER_LENGTH])


def _is_known(device: Device) -> bool:
    """Return whether the name of a device could be one, and is not just anything that the client wrote."""
    return device.brand not in _NO_BRANDS and _MODEL.fullmatch(device.family) is not None


# ua-parser takes about a millisecond for a header.
@functools.lru_cache(maxsize=_REMEMBERED)
def _read(header: str) -> UserAgent:
    found = parse(header)
    browser = "" if found.user_agent is None else found.user_agent.family
    os = "" if found.os is None else found.os.family
    device = ""
    if found.device is not None and _is_known(found.device):
        device = "" if found.device.family in _NO_DEVICES else found.device.family
    words = [word for word in browser.split() if word not in _SAID_ELSEWHERE]
    return UserAgent(
        browser="" if browser == os else clean(" ".join(words), MAX_FACT_LENGTH),
        os=clean("macOS" if os == "Mac OS X" else os, MAX_FACT_LENGTH),
        device=clean(device, MAX_FACT_LENGTH),
    )
