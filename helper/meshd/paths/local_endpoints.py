"""Where this machine may be reached: the addresses of its own interfaces, best first."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_CARRIER_NAT = ip_network("100.64.0.0/10")  # RFC 6598: never reachable from outside
_DOCUMENTATION = tuple(
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


def is_public(address: Address) -> bool:
    """Whether the whole Internet could reach it. The documentation prefixes count: labs use them as public ones."""
    if any(address.version == network.version and address in network for network in _DOCUMENTATION):
        return True
    return address.is_global and not (address.version == 4 and address in _CARRIER_NAT)


def candidates(addresses: Iterable[Address], used: Iterable[Address]) -> list[Address]:
    """The usable ones of `addresses` in order: those in `used` (sources of the default routes) first, then public ones,
    then private; IPv4 before IPv6 among equals. Loopback, link-local and multicast can't be endpoints."""
    preferred = set(used)
    usable = {
        address
        for address in addresses
        if not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)
    }
    return sorted(
        usable, key=lambda address: (address not in preferred, not is_public(address), address.version, int(address))
    )


def source_towards(address: Address) -> Address | None:
    """The address that this machine would send from to `address`, None when it has no route there. Sends nothing."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0].split("%")[0])
        except OSError:
            return None
