"""What the values of settings have to be; for system checks, and for code that runs before these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

#: Whether a value is right for an option, and what it has to be.
Rule: TypeAlias = tuple[Callable[[Any], bool], str]


def option_problems(options: Mapping[Any, Any], rules: Mapping[str, Rule]) -> Iterator[str]:
    """Yield what is wrong with each of some options by itself; never a value, which may be a secret.

    :param options: as the site wrote them.
    :param rules: the rules of all existing options.
    """
    for option, value in options.items():
        if option not in rules:
            yield f"has the unknown option {option!r}"
        elif not rules[option][0](value):
            yield f"has a {option} that is not {rules[option][1]}"


def is_text(value: Any) -> bool:
    """Return whether a value is a text that is not empty."""
    return isinstance(value, str) and bool(value)


def is_list(value: Any, allows: Callable[[Any], bool]) -> bool:
    """Return whether a value is a list or tuple, and each item is allowed."""
    return isinstance(value, list | tuple) and all(map(allows, value))


def is_text_or_list(value: Any) -> bool:
    """Return whether a value is a text, or a list of texts."""
    return is_text(value) or (bool(value) and is_list(value, is_text))


def is_flag(value: Any) -> bool:
    """Return whether a value is True or False."""
    return isinstance(value, bool)


def is_number(value: Any, at_most: float = math.inf) -> bool:
    """Return whether a value is a number from 0 to a limit, and finite."""
    is_finite = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return is_finite and value <= at_most


def is_positive(value: Any) -> bool:
    """Return whether a value is a whole number above 0 that every database can keep."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def is_secure_url(value: Any) -> bool:
    """Return whether a value is an https URL, or an http URL of the machine itself."""
    parts = split_url(value)
    if parts is None:
        return False
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def split_url(value: Any) -> SplitResult | None:
    """Return the parts of an http or https URL, or None if the value is not one.

    It must not have a user or password, which would get into the log.
    """
    if not (is_text(value) and value.isprintable() and " " not in value):
        return None
    try:
        parts: SplitResult = urlsplit(value)
        _port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return None
    return parts


def is_loopback(host: str) -> bool:
    """Return whether a host is the machine itself.

    :param host: a name or an address, without a port and without brackets.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


#: The rule of an address that is fetched.
SECURE_URL: Rule = (is_secure_url, "an https URL, or an http URL of a loopback host")
