"""The planned state of one mesh on this machine, as plain values. `plan` makes it, `difference` compares it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)

from meshproto.keys import PrivateKey, PublicKey

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=1 << 16)
def network(text: str) -> Network:
    """`ip_network`, which is slow, once for each text: what is planned and what is read back are the same objects, and
    comparing thousands of them then takes no time. Raises ValueError."""
    return ip_network(text, strict=False)


@lru_cache(maxsize=1 << 16)
def network_of(address: Address) -> Network:
    """The network that holds just this address."""
    return network(f"{address}/{address.max_prefixlen}")


@dataclass(frozen=True, slots=True, order=True)
class UdpEndpoint:
    """A resolved endpoint, as WireGuard takes it."""

    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class DesiredPeer:
    """One WireGuard peer.

    `endpoint` is where to start: it is set on a peer that has none, and never on one that has, because WireGuard
    roams by itself. Moves between paths are explicit operations of `paths`.
    """

    public_key: PublicKey
    allowed_ips: frozenset[Network]
    endpoint: UdpEndpoint | None = None
    keepalive: int = 0  # seconds, 0: off


class RouteKind(enum.Enum):
    UNICAST = "unicast"  # through the mesh interface
    UNREACHABLE = "unreachable"  # keeps what has no closer route from leaving through the default route


@dataclass(frozen=True, slots=True)
class DesiredRoute:
    destination: Network
    kind: RouteKind = RouteKind.UNICAST
    mtu: int = 0  # bytes, 0: the interface's
    source: Address | None = None  # preferred source address
    metric: int = 0  # 0: the kernel's default


@dataclass(frozen=True, slots=True)
class DesiredFirewall:
    """What the mesh's nftables table does (DESIGN.md section 8)."""

    own_addresses: frozenset[Address]  # accept packets only from the mesh interface and lo
    nodes: frozenset[Address]  # who may reach `redis_port` through the tunnel
    redis_port: int  # 0: no Redis here
    temporary: frozenset[Address]  # addresses of open invites: may reach only `redeem_port` of this machine
    redeem_port: int
    transport_prefix: IPv6Network | None  # forwarded between members by nodes, None on a peer
    forward_to: frozenset[Network]  # subnets and routes of this node that members may reach through it
    masquerade_to: frozenset[Network]  # of these, whose traffic gets this machine's address


@dataclass(frozen=True, slots=True)
class Desired:
    """All of one mesh on this machine."""

    interface: str
    private_key: PrivateKey
    listen_port: int
    mtu: int
    addresses: frozenset[Interface]
    peers: Mapping[PublicKey, DesiredPeer]
    routes: frozenset[DesiredRoute]
    firewall: DesiredFirewall
    forwarding: bool  # the machine forwards IPv4 and IPv6 (nodes)
    fwmark: int = 0
    removed_peers: frozenset[PublicKey] = field(default=frozenset())
