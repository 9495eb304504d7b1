"""Where requests come from, as far as the site keeps that."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from oauth_binding.core.settings import binding_settings

#: How many bits are kept of a shortened address, by the version of IP.
_KEPT_BITS: Final = {4: 24, 6: 48}


def client_address(meta: Mapping[str, Any]) -> IPv4Address | IPv6Address | None:
    """Return the address of the client, or None: a server that listens on a Unix socket tells none.

    :param meta: the ``META`` of Django's request, which django-oauth-toolkit hands on as oauthlib's headers.
    """
    try:
        # Without the interface (RFC 4007 section 11).
        address = ip_address(str(meta.get("REMOTE_ADDR", "")).partition("%")[0])
    except ValueError:
        return None
    # The form on a server that listens for both versions at once (RFC 4291 section 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def kept_address(meta: Mapping[str, Any]) -> str:
    """Return the client's address as ``DEVICE_ADDRESSES`` wants it; empty if none is kept or known.

    :param meta: as for ``client_address``.
    """
    how, address = binding_settings.device_addresses, client_address(meta)
    if address is None or how not in ("shortened", "whole"):
        return ""
    if how == "whole":
        return str(address)
    return str(ip_network((address, _KEPT_BITS[address.version]), strict=False).network_address)
