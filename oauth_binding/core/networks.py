"""Which addresses somebody else may make this server connect to: none inside its own network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

#: The only part of IPv6 that is routed between networks (RFC 4291 section 2.4, IANA's registry).
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

#: The IPv6 addresses by which a network that has only IPv6 reaches IPv4 ones (RFC 6052 section 2.1).
_NAT64: Final = IPv6Network("64:ff9b::/96")

#: What ``localhost`` stands for.
_LOCALHOST: Final = ("127.0.0.1", "::1")


def network_problems(value: Any) -> Iterator[str]:
    """Yield what is wrong with a list of networks, for a system check."""
    if not isinstance(value, list | tuple):
        yield "is not a list"
        return
    for item in value:
        try:
            known = isinstance(item, str) and ip_network(item)
        except ValueError:
            known = False
        if not known:
            yield f"has {item!r}, which is not a network"


def read_networks(value: Any) -> list[Network]:
    """Return the networks of a setting, without values that are not networks (see ``network_problems``)."""
    if not isinstance(value, list | tuple):
        return []
    return [ip_network(item) for item in value if not [*network_problems([item])]]


def is_allowed(address: str, networks: Iterable[Network]) -> bool:
    """Return whether this server may connect to an address that somebody else has chosen.

    :param address: as the resolver returns it.
    :param networks: internal ones, or those of the machine itself, that are allowed nevertheless.
    """
    if is_inside(address, networks):
        return True
    led_to = _led_to(_read(address))
    if isinstance(led_to, IPv6Address) and led_to not in _GLOBAL_UNICAST:
        return False
    return led_to.is_global and not led_to.is_multicast


def is_inside(address: str, networks: Iterable[Network]) -> bool:
    """Return whether an address, or an IPv4 address that it leads to, is in one of some networks."""
    found = _read(address)
    return any(each in network for network in networks for each in (found, _led_to(found)))


def known_addresses(host: str) -> tuple[str, ...]:
    """Return the addresses that a host is known to have without looking it up; none for any other name.

    :param host: a name or an address, without a port and without brackets.
    """
    if host == "localhost":
        return _LOCALHOST
    try:
        _read(host)
    except ValueError:
        return ()
    return (host,)


def _read(address: str) -> Address:
    # Without the interface of a link-local address.
    return ip_address(address.partition("%")[0])


def _led_to(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds and leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
