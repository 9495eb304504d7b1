"""Which addresses somebody else may have the server connect to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from oauth_binding.core.networks import is_allowed, is_inside, known_addresses, network_problems

#: Of the rest of the world.
OUTSIDE = (
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",  # by NAT64
    "2002:808:808::1",  # by 6to4
)

#: By what each is.
INSIDE = {
    "loopback": ("127.0.0.1", "127.255.255.254", "::1"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"),
    "link-local, and the metadata of clouds": ("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0"),
    "of providers (RFC 6598)": ("100.64.0.1", "100.127.255.255", "100.100.100.200"),
    "this network": ("0.0.0.0", "0.1.2.3", "::"),
    "multicast": ("224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"),
    "broadcast and reserved": ("255.255.255.255", "240.0.0.1"),
    "benchmarks and documentation": ("198.18.0.1", "192.0.2.1", "203.0.113.1", "2001:db8::1"),
    "mapped (RFC 4291)": (
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "::ffff:0.0.0.0"),
    ),
    "compatible with IPv4": ("::127.0.0.1", "::10.0.0.1", "::169.254.169.254"),
    "translated": ("::ffff:0:10.0.0.1", "::ffff:0:127.0.0.1"),
    "NAT64": ("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::a00:1"),
    "NAT64 of one's own (RFC 8215)": ("64:ff9b:1::8.8.8.8", "64:ff9b:1::1"),
    "6to4": ("2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::1"),
    "Teredo": ("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    "site-local": ("fec0::1",),
    "discard": ("100::1",),
}


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address: str) -> None:
    assert is_allowed(address, [])


@pytest.mark.parametrize(("what", "address"), [(what, each) for what in INSIDE for each in INSIDE[what]])
def test_inside(what: str, address: str) -> None:
    assert not is_allowed(address, []), what


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("10.1.2.0/24", "10.1.2.3", True),
        ("10.1.2.0/24", "10.1.3.3", False),
        ("10.1.2.0/24", "::ffff:10.1.2.3", True),
        ("10.1.2.0/24", "64:ff9b::10.1.2.3", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.0/8", "::1", False),
        ("::1/128", "::1", True),
        ("fd12::/16", "fd12::5", True),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_a_network_that_is_allowed(network: str, address: str, expected: bool) -> None:
    assert is_allowed(address, [ip_network(network)]) is expected
    assert is_inside(address, [ip_network(network)]) is expected


def test_what_is_outside_stays_allowed_and_is_not_inside() -> None:
    assert is_allowed("8.8.8.8", [ip_network("10.0.0.0/8")])
    assert not is_inside("8.8.8.8", [ip_network("10.0.0.0/8")])


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("::1", ("::1",)),
        ("fe80::1%25eth0", ("fe80::1%25eth0",)),
        ("localhost", ("127.0.0.1", "::1")),
        ("rp.example", ()),
        # Names for the resolver, which may take them for addresses: they are asked when they are looked up.
        ("127.1", ()),
        ("2130706433", ()),
        ("0x7f000001", ()),
        ("", ()),
    ],
)
def test_what_is_known_of_a_host_without_looking_it_up(host: str, addresses: tuple[str, ...]) -> None:
    assert known_addresses(host) == addresses


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ([], []),
        (["10.0.0.0/8", "::1/128", "127.0.0.1"], []),
        (("10.0.0.0/8",), []),
        ("10.0.0.0/8", ["is not a list"]),
        (None, ["is not a list"]),
        (["10.0.0.1/8"], ["has '10.0.0.1/8', which is not a network"]),  # with host bits
        (["localhost"], ["has 'localhost', which is not a network"]),
        ([""], ["has '', which is not a network"]),
        ([10], ["has 10, which is not a network"]),
        ([None, "10.0.0.0/8"], ["has None, which is not a network"]),
    ],
)
def test_the_setting(value: object, problems: list[str]) -> None:
    assert list(network_problems(value)) == problems
