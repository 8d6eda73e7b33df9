"""Networks as people write them for routes: an address and a prefix length, and nothing that means something else."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from meshproto.format_error import FormatError

Network = IPv4Network | IPv6Network

UNUSABLE = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::/8", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip
"""This host, loopback, link-local, multicast, reserved and IPv4-mapped: nothing in a mesh has or routes these."""

UNREADABLE = "network-unreadable"
"""The code of the error about a text that means no network at all."""


def parse_network(text: str) -> Network:
    """Reads `203.0.113.0/24`; raises FormatError. Python reads more: a bare address as that one alone, a netmask, a
    zone, bits behind the prefix. Here each is refused with what was meant."""
    shown = repr(text[:60])
    address, slash, prefix = text.partition("/")
    try:
        if "%" in text:
            plain = ip_network(f"{address.partition('%')[0]}{slash}{prefix or ''}", strict=False)
            raise FormatError(f"{shown} names an interface, and a route is for every machine", f"did you mean {plain}?")
        if not slash:
            alone = ip_address(text)
            wider = _wider(alone.packed)
            network = f", or {alone}/{wider} for the network" if 0 < wider < alone.max_prefixlen else ""
            raise FormatError(
                f"{shown} has no prefix length", f"write {alone}/{alone.max_prefixlen} for that address alone{network}"
            )
        meant = ip_network(text, strict=False)
    except FormatError:
        raise
    except ValueError:
        raise FormatError(f"{shown} is not a network", "write it like 203.0.113.0/24", UNREADABLE) from None
    if not (prefix.isascii() and prefix.isdecimal()):
        raise FormatError(f"{shown} has a mask in the place of a prefix length", f"did you mean {meant}?")
    if ip_address(address) != meant.network_address:
        raise FormatError(f"{text} has bits set behind its prefix", f"did you mean {meant}?")
    return meant


def _wider(packed: bytes) -> int:
    """How many bits come before the zeros that an address ends with, in whole parts as it is written."""
    part = 1 if len(packed) == 4 else 2
    return -(-len(packed.rstrip(b"\0")) // part) * part * 8


def parse_route(text: str) -> Network:
    """The same for what a node may offer. Raises FormatError."""
    network = parse_network(text)
    if network.prefixlen == 0:
        raise FormatError(
            f"{network} would send everything through a node, which is not available",
            "name the networks behind the node",
        )
    for one in UNUSABLE:
        if one.version == network.version and one.overlaps(network):
            raise FormatError(f"{network} can't be routed: it holds addresses of {one}")
    return network
